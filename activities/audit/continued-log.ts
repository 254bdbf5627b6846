import { readdir } from 'node:fs/promises';
import { join } from 'node:path';

import type { AuditHead } from '../../domain/audit.ts';
import { findEntry } from './chain-folder.ts';
import type { AuditLog, AuditLogOptions } from './log.ts';
import { openAuditLog } from './log.ts';

export interface ContinuedLog {
  readonly log: AuditLog;
  /** Set where the disk no longer has what was published of the chain: the log then goes on as another chain. */
  readonly lost?: { readonly after: AuditHead; readonly found: AuditHead };
}

/**
 * Opens the newest chain of a writer, or its first one where it has none. A chain of which the disk lost the end (with
 * its pod, or because somebody cut or rewrote it) is left as it is, not even repaired, and never continued: that would
 * fork it.
 * @param options with the chain that the writer began with
 * @param published where this writer's newest chain was said to end, by a head that it signed itself
 * @param elsewhere where its chains end as far as others have them; asked where no head is published, or the disk lost
 *   what was: both may be of yesterday, and a chain of today must not be begun once more
 * @throws {ConnectorError} as `openAuditLog`
 */
export async function openContinuedLog(
  options: AuditLogOptions,
  published: AuditHead | undefined,
  elsewhere: () => Promise<readonly AuditHead[]>,
): Promise<ContinuedLog> {
  const { chain: base } = options;
  const known = published && isChainOf(published.chain, base) ? [published] : [];
  let found = await chooseChain(options, known);
  if (known.length === 0 || found.lost) found = await chooseChain(options, [...known, ...(await elsewhere())]);
  const { chain, lost } = found;
  return { log: await openAuditLog({ ...options, chain }), ...(lost && { lost }) };
}

interface Choice extends Pick<ContinuedLog, 'lost'> {
  readonly chain: string;
}

/** The newest chain that anybody knows of, where the disk has it as far as others do, and else the one after it. */
async function chooseChain(
  { dir, chain: base, sha256 }: AuditLogOptions,
  known: readonly AuditHead[],
): Promise<Choice> {
  const chains = [base, ...(await chainsIn(dir, base)), ...known.map((head) => head.chain)];
  const newest = Math.max(...chains.map((chain) => generationOf(chain, base)));
  const chain = chainOfGeneration(base, newest);
  const ends = known.filter((head) => head.chain === chain).sort((a, b) => b.seq - a.seq);
  for (const { seq, hash } of ends) {
    const found = await findEntry(join(dir, chain), chain, seq, sha256);
    if (found.hash === hash) continue;
    return { chain: chainOfGeneration(base, newest + 1), lost: { after: { chain, seq, hash }, found: found.end } };
  }
  return { chain };
}

/** Whether a chain is one of the writer that began with `base`. */
export function isChainOf(chain: string, base: string): boolean {
  return generationOf(chain, base) > 0;
}

/** `prod-eu-1.w1` is 1, `prod-eu-1.w1_2` is 2: no writer's name has an underscore. 0 for a chain of another writer. */
function generationOf(chain: string, base: string): number {
  if (chain === base) return 1;
  const number = chain.startsWith(`${base}_`) ? chain.slice(base.length + 1) : '';
  return /^[1-9]\d{0,8}$/.test(number) ? Number(number) : 0;
}

function chainOfGeneration(base: string, generation: number): string {
  return generation === 1 ? base : `${base}_${generation}`;
}

async function chainsIn(dir: string, base: string): Promise<string[]> {
  try {
    return (await readdir(dir)).filter((name) => isChainOf(name, base));
  } catch {
    return []; // opening the log makes the folder, or says why it cannot
  }
}
