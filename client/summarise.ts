import { createHash } from 'node:crypto';
import type { SignedWpk } from '../domain/wpk.ts';

const ULID = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/;

/**
 * Names a package before anybody has checked it: its id where one can be read, else a name made of the payload's
 * digest, so that what cannot be read is still taken in, refused and audited. For naming only; believe nothing of it.
 */
export function summarise({ payload }: SignedWpk): { readonly wpkId: string; readonly summary: string } {
  const bytes = Buffer.from(payload, 'base64');
  const { id, name, playbook } = readLoosely(bytes);
  const unreadable = `unreadable-${createHash('sha256').update(bytes).digest('hex').slice(0, 16)}`;
  if (typeof id !== 'string' || !ULID.test(id)) return { wpkId: unreadable, summary: 'a package that cannot be read' };
  return { wpkId: id, summary: `${printable(name)} (playbook ${printable(playbook)}), as submitted` };
}

function readLoosely(bytes: Buffer): { id?: unknown; name?: unknown; playbook?: unknown } {
  try {
    const wpk = JSON.parse(bytes.toString('utf8')) as {
      metadata?: { id?: unknown; name?: unknown; playbook?: { id?: unknown } };
    } | null;
    return { id: wpk?.metadata?.id, name: wpk?.metadata?.name, playbook: wpk?.metadata?.playbook?.id };
  } catch {
    return {};
  }
}

function printable(value: unknown): string {
  return typeof value === 'string' ? value.replace(/[^\w .:@-]/g, '?').slice(0, 63) : 'unnamed';
}
