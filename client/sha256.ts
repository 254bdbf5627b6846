import { hash } from 'node:crypto';

import type { Digest } from '../domain/digest.ts';

export function sha256(data: string | Uint8Array): Digest {
  return `sha256:${hash('sha256', data, 'hex')}`;
}
