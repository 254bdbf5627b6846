import { setTimeout as sleep } from 'node:timers/promises';
import { request } from 'undici';
import type { HealthReport } from '../../domain/agent-api.ts';
import type { AlertType } from '../../domain/alerts.ts';
import type { AuditEntry } from '../../domain/audit.ts';
import type { AuditEventType } from '../../domain/audit-catalogue.ts';
import type { Alert } from '../../domain/control-plane.ts';
import type { ComponentState, PartName } from '../../domain/health.ts';
import { scheduleIdOf } from '../../domain/names.ts';
import { clusterAt } from '../../dev/servers/control-plane.ts';
import type { Stack } from '../../dev/stack.ts';
import type { TestConnectorOptions } from './connector.ts';
import { TestConnector } from './connector.ts';
import { TokenIssuer } from './token-issuer.ts';
import { until } from './until.ts';

/** So long may it take until a part that goes away is noticed, told, and delivered: two looks of 15 s, and two of 10 s. */
const TOLD_WITHIN_MS = 60_000;

/** Of one network 120 scrapes a minute are answered. */
const SCRAPE_AGAIN_MS = 500;

export type Component = HealthReport['components'][number];

/** A connector that is linked to its stack's control plane, seen from all sides on which an alert shows. */
export class WatchedConnector {
  readonly connector: TestConnector;
  readonly #stack: Stack;
  readonly #issuer: TokenIssuer;

  private constructor(connector: TestConnector, stack: Stack, issuer: TokenIssuer) {
    this.connector = connector;
    this.#stack = stack;
    this.#issuer = issuer;
  }

  static async start(stack: Stack, { env, files, ...more }: TestConnectorOptions = {}): Promise<WatchedConnector> {
    const issuer = await TokenIssuer.create();
    const connector = await TestConnector.start({
      clothes: 'development', // all roles in one process; a process for each is in roles.test.ts
      services: stack,
      linked: true,
      ...more,
      env: {
        BYOC_AGENT_PORT: '0',
        BYOC_AGENT_JWT_ISSUER: issuer.issuer,
        BYOC_AGENT_JWT_KEYS: 'jwks.json',
        ...env,
      },
      files: { 'jwks.json': await issuer.jwks(), ...files },
    });
    return new WatchedConnector(connector, stack, issuer);
  }

  /** Where the agent of the worker that runs listens. */
  async agentUrl(): Promise<string> {
    const line = await until('the agent to listen', async () =>
      (await this.connector.log()).find(({ message }) => message === 'the agent listens'),
    );
    return `http://127.0.0.1:${String(line['port'])}`;
  }

  async health(): Promise<HealthReport> {
    const token = await this.#issuer.token(`byoc/${this.connector.clusterId}`);
    const { body } = await request(`${await this.agentUrl()}/health`, {
      headers: { authorization: `Bearer ${token}` },
    });
    return (await body.json()) as HealthReport;
  }

  /** Waits until a part is in a state, and resolves to all that is said of it. */
  untilPart(name: PartName, state: ComponentState, timeoutMs = TOLD_WITHIN_MS): Promise<Component> {
    return until(
      `${name} to be ${state}`,
      async () => (await this.health()).components.find((one) => one.name === name && one.state === state),
      timeoutMs,
    );
  }

  /** The value of a series as it is scraped, such as `byoc_ready`; undefined where there is none. */
  async metric(series: string): Promise<number | undefined> {
    const text = await until('the metrics', async () => {
      const { statusCode, body } = await request(`${await this.agentUrl()}/metrics`);
      const scraped = await body.text();
      if (statusCode === 200) return scraped;
      await sleep(SCRAPE_AGAIN_MS); // nobody may scrape as often as a test looks
      return undefined;
    });
    const line = text.split('\n').find((one) => one.startsWith(`${series} `));
    return line === undefined ? undefined : Number(line.slice(series.length + 1));
  }

  /** What the control plane has stored, in the order in which it came. */
  async alerts(): Promise<readonly Alert[]> {
    return (await clusterAt(this.#stack.controlPlane, this.connector.clusterId))?.alerts ?? [];
  }

  /**
   * Waits until an alert shows wherever it must: its metric is moved, an entry is in the audit log, and the control plane
   * has it.
   */
  async untilAlert(
    type: AlertType,
    entryType: AuditEventType,
    is: (entry: AuditEntry) => boolean = () => true,
    timeoutMs = TOLD_WITHIN_MS,
  ): Promise<{ readonly alert: Alert; readonly entry: AuditEntry }> {
    const entry = await this.untilRaised(type, entryType, is, timeoutMs);
    return { entry, alert: await this.untilDelivered(type, entry, timeoutMs) };
  }

  /** Waits until an alert is raised: its metric is moved, and an entry is in the audit log. */
  async untilRaised(
    type: AlertType,
    entryType: AuditEventType,
    is: (entry: AuditEntry) => boolean = () => true,
    timeoutMs = TOLD_WITHIN_MS,
  ): Promise<AuditEntry> {
    const find = async () => (await this.connector.audit()).findLast((one) => one.type === entryType && is(one));
    const entry = await until(`an entry ${entryType}`, find, timeoutMs);
    const series = `byoc_alerts_total{type="${type}"}`;
    await until(series, async () => ((await this.metric(series)) ?? 0) > 0);
    return entry;
  }

  /** Waits until the control plane has the alert that an entry raised. */
  untilDelivered(type: AlertType, { time }: AuditEntry, timeoutMs = TOLD_WITHIN_MS): Promise<Alert> {
    return until(
      `the alert ${type} at the control plane`,
      // It is raised with the writing of the entry.
      async () => (await this.alerts()).find((one) => one.type === type && one.at >= time),
      timeoutMs,
    );
  }

  /** Lets a schedule run now; one that is under way is not run again. */
  async trigger(name: string, writer?: string): Promise<void> {
    await this.connector.client.client.schedule
      .getHandle(scheduleIdOf(this.connector.clusterId, name, writer))
      .trigger();
  }
}
