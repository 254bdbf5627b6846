import { createHmac } from 'node:crypto';

/** How much of the hash is shown: enough that equal masks mean equal values, and no more than a person can compare. */
const MASK_CHARS = 12;

/** Replaces values of Secrets: equal values get equal masks, and without the key nothing can be learnt from them. */
export function createMask(key: Uint8Array): (value: string) => string {
  return (value) => `masked:${createHmac('sha256', key).update(value).digest('hex').slice(0, MASK_CHARS)}`;
}
