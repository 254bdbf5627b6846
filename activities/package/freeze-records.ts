import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AuditEvent } from '../../domain/audit.ts';
import type { Sha256 } from '../../domain/digest.ts';
import { canonicalJson } from '../../domain/digest.ts';
import { freezeNameOf, isOlder } from '../../domain/freeze.ts';
import type { FreezeVersion } from '../kubernetes/freeze-watch.ts';
import type { StateRecords } from '../kubernetes/writer.ts';
import type { AuditWriter } from './records.ts';

export interface FreezeRecordsOptions {
  readonly clusterId: string;
  readonly records: StateRecords;
  readonly audit: AuditWriter;
  readonly sha256: Sha256;
  readonly onTrouble: (error: unknown) => void;
}

const RETRY_MS = 1_000;
/** No text from outside, however long, may keep an entry from being written. */
const MAX_REASON_CHARS = 2_000;
const MAX_ID_CHARS = 512;
/** Two workers that are started at once on a new cluster: the first makes the object, the second may look before. */
const MADE_WITHIN_MS = 5_000;

/**
 * Sees to it that the freeze exists from the first installation on, and that each change of it is in the audit log
 * once, whoever made it and however many workers see it. A record beside the freeze counts the changes that were
 * recorded: the number is what makes the same change the same event for all workers, and what was changed while none ran is
 * found out by the next that starts. That the record is there says that there was a freeze object before: when it is
 * missing then, somebody took it away, and nobody puts an open one back but a person with `byoc resume`.
 */
export class FreezeRecords {
  private readonly options: FreezeRecordsOptions;
  private readonly ended = new AbortController();
  private queue: Promise<void> = Promise.resolve();
  private latest: FreezeVersion | undefined;
  private isFirst = true;

  constructor(options: FreezeRecordsOptions) {
    this.options = options;
  }

  private get name(): string {
    return `byoc-freeze-audit-${this.options.clusterId}`;
  }

  /** Makes the freeze, open, on the first installation; at no other time. */
  async install(): Promise<void> {
    const { records, clusterId } = this.options;
    const none = { installation: randomUUID(), state: 'open', changes: '0', resourceVersion: '0' };
    if (!(await records.create(this.name, none))) return;
    await records.create(freezeNameOf(clusterId), { frozen: 'false', reason: 'installed', by: 'byoc-connector' });
  }

  /** To be told each version of the freeze, in order. Records it as soon as that can be done. */
  take(version: FreezeVersion): void {
    this.latest = version;
    this.queue = this.queue.then(() => this.record(version));
  }

  /** Waits for what is being recorded; what could not be is left to the next worker. */
  async close(): Promise<void> {
    this.ended.abort();
    await this.queue;
  }

  private async record(version: FreezeVersion): Promise<void> {
    const signal = this.ended.signal;
    if (version.how === 'missing' && this.isFirst) {
      await sleep(MADE_WITHIN_MS, undefined, { signal }).catch(() => undefined);
      if (this.latest !== version) return;
    }
    this.isFirst = false;
    while (!signal.aborted) {
      try {
        return await this.recordOnce(version);
      } catch (error) {
        this.options.onTrouble(error);
        await sleep(RETRY_MS, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  private async recordOnce(version: FreezeVersion): Promise<void> {
    const { records, audit, sha256, clusterId } = this.options;
    const recorded = await records.read(this.name);
    const state = version.isFrozen ? 'frozen' : 'open';
    if (!recorded || recorded['state'] === state) return;
    // A slow worker sees what others have recorded, and what came after it, long ago.
    if (version.how === 'set' && isOlder(version.resourceVersion, recorded['resourceVersion'] ?? '0')) return;
    const change = Number(recorded['changes'] ?? 0) + 1;
    const { how, by, resourceVersion } = version;
    const reason = version.reason.slice(0, MAX_REASON_CHARS);
    const detail: AuditEvent['detail'] = {
      cluster: clusterId,
      how,
      change,
      resourceVersion,
      ...(reason && { reason }),
    };
    const { installation } = recorded;
    await audit.append({
      eventId: sha256(canonicalJson({ clusterId, installation, freeze: change })),
      type: version.isFrozen ? 'freeze.set' : 'freeze.lifted',
      actor: { id: (by || 'unknown').slice(0, MAX_ID_CHARS), proof: 'asserted' },
      outcome: 'succeeded',
      detail,
    });
    await records.amend(this.name, (now) =>
      Number(now?.['changes'] ?? 0) >= change ? undefined : { state, changes: String(change), resourceVersion },
    );
  }
}
