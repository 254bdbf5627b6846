import type { Logger } from 'pino';
import type { ControlPlane } from '../activities/control-plane/client.ts';
import { Spool } from '../activities/control-plane/spool.ts';
import { sha256 } from '../client/sha256.ts';
import type { AlertType } from '../domain/alerts.ts';
import { ALERTS, alertTypeOf, codeIn } from '../domain/alerts.ts';
import type { AuditEvent } from '../domain/audit.ts';
import type { Alert } from '../domain/control-plane.ts';
import { alertSchema } from '../domain/control-plane.ts';
import { canonicalJson } from '../domain/digest.ts';
import { ConnectorError } from '../domain/errors.ts';
import { isSimulated } from '../domain/simulation.ts';

/**
 * The one place that alerts go through: each is counted, and a signal to the control plane. What it is about is in
 * the audit log already (domain/alerts.ts). Where the process knows the control plane they do not go through Temporal,
 * because they may be about Temporal; where it does not, they wait for Temporal (alert-relay.ts).
 */
export interface Alerts {
  /** To be called with each entry that the audit log has taken; one that was told before is not told again. */
  onRecorded(event: AuditEvent): void;
  /** What the log cannot tell: that it takes nothing, and what it was to be told. */
  onUnrecorded(event: AuditEvent): void;
  /** For what can have no entry; of one occasion one is enough. */
  raise(type: AlertType, occasion: string): void;
  /** Begins to deliver. */
  deliverThrough(controlPlane: Pick<ControlPlane, 'signal'>): void;
  /** To be called when the control plane has answered well: what waits may go now. */
  deliverSoon(): void;
  readonly counts: { readonly waiting: number; readonly dropped: number };
  /** Tries once more to deliver what waits, for a moment; the rest stays for the next start. */
  close(): Promise<void>;
}

export interface AlertsOptions {
  readonly clusterId: string;
  readonly writer: string;
  /** Where alerts wait; without one nobody takes them to a control plane, and they are counted only. */
  readonly folder: string | undefined;
  readonly count: (type: AlertType) => void;
  /** Told how many wait and were dropped, whenever that changes. */
  readonly onCounts?: (counts: Alerts['counts']) => void;
  readonly logger: Logger;
}

/** Alerts that wait on the disk, each in a small file. */
export const MAX_WAITING = 500;
/** Ids of alerts that were told, so that a repeated entry is no other alert. */
const REMEMBERED = 1_000;
const RETRY_AFTER_MS = 5_000;
const MAX_RETRY_AFTER_MS = 60_000;
const CLOSE_WITHIN_MS = 2_000;

export async function openAlerts(options: AlertsOptions): Promise<Alerts> {
  const { clusterId, writer, folder, count, onCounts, logger } = options;
  const parse = (value: unknown) => alertSchema.safeParse(value).data;
  const spool = folder === undefined ? undefined : await Spool.open({ folder, maxItems: MAX_WAITING, parse });
  const told = new Set<string>();
  const mark = isSimulated(clusterId) ? ({ simulated: true } as const) : {};
  let controlPlane: Pick<ControlPlane, 'signal'> | undefined;
  let retry: NodeJS.Timeout | undefined;
  let attempting: Promise<void> | undefined;
  let failures = 0;

  const send = async (alert: Alert): Promise<'delivered' | 'drop'> => {
    try {
      await controlPlane?.signal({ clusterId, kind: 'alert', alert });
      return 'delivered';
    } catch (error) {
      const code = error instanceof ConnectorError ? error.code : 'INTERNAL';
      if (code === 'CONTROL_PLANE_CONFLICT') return 'delivered'; // another process has told of the same
      if (code !== 'CONTROL_PLANE_REFUSED') throw error;
      logger.error({ type: alert.type, err: error }, 'the control plane does not take an alert; it is dropped');
      return 'drop';
    }
  };
  const tellCounts = () => spool && onCounts?.(spool.counts);
  const attempt = async (waiting: Spool<Alert>): Promise<void> => {
    clearTimeout(retry);
    retry = undefined;
    try {
      await waiting.deliver(send);
      failures = 0;
      tellCounts();
    } catch (error) {
      if (failures === 0) logger.warn({ err: error }, 'alerts wait for the control plane');
      const waitMs = Math.min(RETRY_AFTER_MS * 2 ** failures, MAX_RETRY_AFTER_MS);
      failures += 1;
      retry = setTimeout(() => void deliver(), waitMs).unref();
    }
  };
  // All who want it while one is under way share it: an outage has one timer, however many alerts there are.
  const deliver = async (): Promise<void> => {
    tellCounts();
    if (!controlPlane || !spool || spool.counts.waiting === 0) return;
    await (attempting ??= attempt(spool).finally(() => (attempting = undefined)));
  };
  /** For one more alert: while others wait to be tried again it waits with them, so that many of them are no flood. */
  const deliverNew = async (): Promise<void> => {
    tellCounts();
    if (!retry) await deliver();
  };

  const raise = (
    type: AlertType,
    occasion: string,
    about: Partial<Pick<Alert, 'code' | 'wpk' | 'workflowId'>> = {},
  ) => {
    const id = sha256(`${type}\n${occasion}`);
    if (told.has(id)) return;
    told.add(id);
    const [oldest] = told;
    if (told.size > REMEMBERED && oldest !== undefined) told.delete(oldest);
    const alert: Alert = { id, type, ...ALERTS[type], at: new Date().toISOString(), writer, ...mark, ...about };
    count(type);
    // What is known of the cause is logged where it is met.
    logger.info({ raised: type, ...about }, alert.summary);
    void spool
      ?.add(id, alert)
      .catch((error: unknown) => logger.warn({ err: error }, 'an alert is kept in memory only'))
      .then(deliverNew);
  };

  /** What every worker finds by itself, and finds again after each start, is one occasion for the whole cluster. */
  const occasionOf = ({ type, eventId, detail }: AuditEvent): string =>
    type === 'key.revoked'
      ? canonicalJson([clusterId, detail['use'], detail['name'], detail['fingerprint'], detail['revokedAt']])
      : eventId;

  return {
    onRecorded(event) {
      const type = alertTypeOf(event);
      if (type) raise(type, occasionOf(event), aboutOf(event));
    },
    onUnrecorded(event) {
      const minute = new Date().toISOString().slice(0, 16); // of all that is not recorded meanwhile one is enough
      raise('audit-unavailable', `${writer}/${minute}`);
      const type = alertTypeOf(event);
      if (type) raise(type, occasionOf(event), aboutOf(event));
    },
    raise: (type, occasion) => raise(type, `${writer}/${occasion}`),
    deliverThrough(through) {
      controlPlane = through;
      void deliver();
    },
    deliverSoon: () => void deliver(),
    get counts() {
      return spool?.counts ?? { waiting: 0, dropped: 0 };
    },
    async close() {
      clearTimeout(retry);
      await Promise.race([deliver(), new Promise((resolve) => setTimeout(resolve, CLOSE_WITHIN_MS).unref())]);
      clearTimeout(retry);
      controlPlane = undefined;
    },
  };
}

function aboutOf({ detail, wpk, workflowId }: AuditEvent): Partial<Pick<Alert, 'code' | 'wpk' | 'workflowId'>> {
  const code = codeIn(detail);
  return {
    ...(code !== undefined && { code: code.slice(0, 64) }),
    ...(wpk !== undefined && { wpk }),
    ...(workflowId !== undefined && { workflowId }),
  };
}
