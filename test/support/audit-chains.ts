import type { AuditFile } from '../../client/audit-verify.ts';
import { sha256 } from '../../client/sha256.ts';
import type { AuditEntry } from '../../domain/audit.ts';
import { GENESIS, sealEntry } from '../../domain/audit.ts';

export interface ChainOptions {
  readonly chain?: string;
  readonly detail?: Readonly<Record<string, unknown>>;
  /** Of entry n, counted from 1. */
  readonly timeOf?: (n: number) => string;
  readonly typeOf?: (n: number) => AuditEntry['type'];
  readonly eventIdOf?: (n: number) => string;
  /** Whether entry n says that it is made up. */
  readonly simulatedOf?: (n: number) => boolean;
}

/** Lines of a chain as the log would write them, without their newlines. */
export function chainOf(length: number, options: ChainOptions = {}): string[] {
  const { chain = 'prod-eu-1.w1', detail = { comment: 'looks good' } } = options;
  const lines: string[] = [];
  let prev = GENESIS;
  for (let seq = 1; seq <= length; seq += 1) {
    const time = options.timeOf?.(seq) ?? new Date(Date.UTC(2026, 0, 1) + seq * 1000).toISOString();
    const type = options.typeOf?.(seq) ?? 'vote.recorded';
    const actor = { id: 'alice@example.com', proof: 'verified' } as const;
    const entry: AuditEntry = {
      ...{ v: 1, chain, seq, eventId: options.eventIdOf?.(seq) ?? `e/${chain}/${seq}`, time, type, actor },
      ...{ outcome: 'succeeded', detail, prev },
      ...(options.simulatedOf?.(seq) && { simulated: true }),
    };
    const sealed = sealEntry(sha256, entry);
    lines.push(sealed.line);
    prev = sealed.hash;
  }
  return lines;
}

/** A file in memory, read in chunks. */
export function fileOf(name: string, content: string | Uint8Array, chunkBytes = 65_536): AuditFile {
  const bytes = Buffer.from(content);
  return {
    name,
    async *open() {
      for (let at = 0; at < bytes.length; at += chunkBytes) yield bytes.subarray(at, at + chunkBytes);
    },
  };
}

export const textOf = (lines: readonly string[]) => lines.map((line) => `${line}\n`).join('');
