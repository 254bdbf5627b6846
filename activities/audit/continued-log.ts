import type { AuditHead } from '../../domain/audit.ts';
import type { AuditLog, AuditLogOptions } from './log.ts';
import { openAuditLog } from './log.ts';

export interface ContinuedLog {
  readonly log: AuditLog;
  /** Set where the disk no longer has what was published of the chain: the log then goes on as another chain. */
  readonly lost?: { readonly after: AuditHead; readonly found: AuditHead };
}

/**
 * Opens the chain that was published last, or the first one where none was. A chain of which the disk lost the end (with
 * its pod, or because somebody cut it) is left as it is and never continued: that would fork it.
 * @param published where the chain of this writer was said to end, by a head that it signed itself
 * @throws {ConnectorError} as `openAuditLog`
 */
export async function openContinuedLog(
  options: AuditLogOptions,
  published: AuditHead | undefined,
): Promise<ContinuedLog> {
  const log = await openAuditLog({ ...options, chain: published?.chain ?? options.chain });
  const found = log.head();
  const known = published && (published.seq > found.seq ? undefined : (log.hashAt(published.seq) ?? published.hash));
  if (!published || known === published.hash) return { log };
  await log.close();
  return {
    log: await openAuditLog({ ...options, chain: nextGeneration(published.chain) }),
    lost: { after: { chain: published.chain, seq: published.seq, hash: published.hash }, found },
  };
}

/** `prod-eu-1.w1` → `prod-eu-1.w1_2` → `prod-eu-1.w1_3`: no writer's name has an underscore. */
function nextGeneration(chain: string): string {
  const [, base = chain, number = '1'] = /^(.*)_(\d+)$/.exec(chain) ?? [];
  return `${base}_${Number(number) + 1}`;
}
