import { join } from 'node:path';

import { checkLine } from '../../domain/audit-chain.ts';
import type { DayManifest, HeadKey } from '../../domain/audit-head.ts';
import { dayManifestSchema, signHead } from '../../domain/audit-head.ts';
import type { Sha256 } from '../../domain/digest.ts';
import { ConnectorError } from '../../domain/errors.ts';
import { readLines } from './chain-folder.ts';
import type { Progress } from './upload-progress.ts';

export interface ManifestInput extends Pick<Progress, 'uploaded' | 'sealed'> {
  readonly folder: string;
  /** The day's file, `<day>.jsonl`. */
  readonly file: string;
  readonly key: HeadKey;
  readonly sha256: Sha256;
}

/**
 * Sums up a day that is over: what its file holds after the day that was sealed before it.
 * @returns undefined for a day that recorded nothing, or whose end is not uploaded
 * @throws {ConnectorError} AUDIT_BROKEN
 */
export async function makeManifest(input: ManifestInput): Promise<DayManifest | undefined> {
  const { folder, file, key, sha256, sealed, uploaded } = input;
  const { chain } = uploaded;
  let first: Link | undefined;
  let last: Link | undefined;
  for await (const line of readLines(join(folder, file))) {
    const checked = checkLine(line.bytes, sha256);
    if (!checked.ok)
      throw new ConnectorError('AUDIT_BROKEN', `${file} at byte ${line.offset}: found ${checked.found}.`);
    const { seq, time } = checked.entry;
    if (sealed && seq <= sealed.seq) continue;
    last = { seq, hash: checked.hash, time };
    first ??= last;
  }
  if (!first || !last || last.seq > uploaded.seq) return undefined;
  const { seq, hash, time } = last;
  return {
    v: 1,
    chain,
    day: file.slice(0, -'.jsonl'.length),
    entries: seq - first.seq + 1,
    first: { seq: first.seq, hash: first.hash },
    last: { seq, hash },
    head: signHead({ chain, seq, hash }, time, key), // with the time of its entry: making it again makes the same
    publicKey: key.publicKeyPem,
  };
}

type Link = DayManifest['last'] & { readonly time: string };

/** @returns undefined for bytes that are no manifest */
export function parseManifest(bytes: Buffer): DayManifest | undefined {
  try {
    return dayManifestSchema.parse(JSON.parse(bytes.toString('utf8')));
  } catch {
    return undefined;
  }
}
