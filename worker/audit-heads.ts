import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { AuditLog } from '../activities/audit/log.ts';
import type { HeadLease, HeadLeases } from '../activities/kubernetes/writer.ts';
import type { HeadKey } from '../domain/audit-head.ts';
import { signHead } from '../domain/audit-head.ts';

/** The least time between two heads, and the most: who watches them takes silence for a sign. */
const EVERY_MS = 1_000;
const AT_LEAST_EVERY_MS = 30_000;
const CLOSE_WITHIN_MS = 3_000;

export interface HeadPublisherOptions {
  readonly log: Pick<AuditLog, 'head'>;
  readonly key: HeadKey;
  readonly leases: Pick<HeadLeases, 'publish'>;
  readonly lease: Pick<HeadLease, 'name' | 'clusterId' | 'holder' | 'roles'>;
  readonly logger: Logger;
}

export interface HeadPublisher {
  /** Publishes the last head and ends. */
  close(): Promise<void>;
}

/** Publishes the signed head of the log in the writer's Lease. What cannot be published is told, and tried again. */
export function publishHeads({ log, key, leases, lease, logger }: HeadPublisherOptions): HeadPublisher {
  let published = { seq: -1, at: -Infinity };
  let running: Promise<void> | undefined;
  let failing = false;

  const publish = async () => {
    const renewedAt = new Date();
    const head = log.head();
    published = { seq: head.seq, at: performance.now() };
    try {
      const signed = JSON.stringify(signHead(head, renewedAt.toISOString(), key));
      await leases.publish({ ...lease, renewedAt, head: signed, publicKey: key.publicKeyPem });
      failing = false;
    } catch (error) {
      published = { ...published, seq: -1 };
      if (!failing) logger.warn({ alert: 'audit-head-unpublished', err: error }, 'the audit head cannot be published');
      failing = true;
    }
  };
  const publishIfDue = () => {
    const isDue = log.head().seq > published.seq || performance.now() - published.at >= AT_LEAST_EVERY_MS;
    if (isDue && !running) running = publish().finally(() => (running = undefined));
  };

  publishIfDue();
  const timer = setInterval(publishIfDue, EVERY_MS).unref();
  return {
    async close() {
      clearInterval(timer);
      // A process that ends is not held up by an API server that does not answer: the bucket has the last head too.
      await Promise.race([Promise.resolve(running).then(publish), sleep(CLOSE_WITHIN_MS, undefined, { ref: false })]);
    },
  };
}
