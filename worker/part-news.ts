import type { Logger } from 'pino';
import { ALERTS, alertTypeOf } from '../domain/alerts.ts';
import type { Health } from '../domain/health.ts';
import type { AuditTrail } from './audit-trail.ts';
import type { LinkNews } from './link-watch.ts';
import type { PartNews } from './part-watch.ts';
import { PartWatch } from './part-watch.ts';

export interface NewsOptions {
  readonly audit: Pick<AuditTrail, 'record'>;
  readonly logger: Logger;
}

const LOOK_EVERY_MS = 10_000;

/** Puts news into the worker's log and the audit log, where they become alerts. Where they cannot be recorded, it says so. */
export function createNews({ audit, logger }: NewsOptions): (news: readonly (LinkNews | PartNews)[]) => void {
  const tell = async ({ type, detail }: LinkNews | PartNews) => {
    const alert = alertTypeOf({ type, detail });
    if (alert) logger.error({ alert, ...detail }, ALERTS[alert].summary);
    else logger.info({ type, ...detail }, 'it is well again');
    await audit.record(type, detail, { outcome: alert ? 'failed' : 'succeeded' });
  };
  return (news) => {
    Promise.all(news.map(tell)).catch((error: unknown) =>
      logger.error({ err: error }, 'what happened to a part cannot be recorded'),
    );
  };
}

/** Tells of parts that stop working and that work again, whether or not there is a control plane to hear of it. */
export function watchParts(health: Health, options: NewsOptions): { close(): void } {
  const parts = new PartWatch();
  const tell = createNews(options);
  const looking = setInterval(() => tell(parts.look(health.components())), LOOK_EVERY_MS).unref();
  return { close: () => clearInterval(looking) };
}
