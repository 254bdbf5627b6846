import type { Logger } from 'pino';
import { ALERTS, alertTypeOf } from '../domain/alerts.ts';
import type { Health } from '../domain/health.ts';
import type { AuditTrail } from './audit-trail.ts';
import type { LinkNews } from './link-watch.ts';
import type { PartNews } from './part-watch.ts';
import { PartWatch } from './part-watch.ts';

interface NewsOptions {
  readonly audit: Pick<AuditTrail, 'record'>;
  readonly logger: Logger;
}

/** Tells log and audit, and by that alerts, what became of the parts and of the link. */
export function createNewsTeller({ audit, logger }: NewsOptions): (news: readonly (LinkNews | PartNews)[]) => void {
  const tell = async ({ type, detail }: LinkNews | PartNews) => {
    const alert = alertTypeOf({ type, detail });
    if (alert) logger.error({ alert, ...detail }, ALERTS[alert].summary);
    else logger.info({ type, ...detail }, 'it is well again');
    await audit.record(type, detail, { outcome: alert ? 'failed' : 'succeeded' });
  };
  return (news) => {
    Promise.all(news.map(tell)).catch((error: unknown) =>
      logger.error({ err: error }, 'what became of a part cannot be recorded'),
    );
  };
}

const LOOK_AT_PARTS_EVERY_MS = 10_000;

/** Notices parts that stop working, whichever roles the process has. */
export function watchParts(health: Health, options: NewsOptions): { close(): void } {
  const parts = new PartWatch();
  const tell = createNewsTeller(options);
  const timer = setInterval(() => tell(parts.look(health.components())), LOOK_AT_PARTS_EVERY_MS).unref();
  return { close: () => clearInterval(timer) };
}
