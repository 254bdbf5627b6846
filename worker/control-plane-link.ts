import { hostname } from 'node:os';
import type { Client } from '@temporalio/client';
import type { NativeConnection } from '@temporalio/worker';
import type { Logger } from 'pino';
import { createControlPlane } from '../activities/control-plane/client.ts';
import type { HeartbeatDeps } from '../activities/control-plane/heartbeat.ts';
import { describeHeartbeat } from '../activities/control-plane/heartbeat.ts';
import type { LinkActivities } from '../activities/control-plane/link.ts';
import { createLinkActivities } from '../activities/control-plane/link.ts';
import { describeRegistration } from '../activities/control-plane/registration.ts';
import { createRelayActivities } from '../activities/control-plane/relay.ts';
import { clusterFacts } from '../activities/kubernetes/cluster-facts.ts';
import type { KubeReader } from '../activities/kubernetes/kube-api.ts';
import type { PolicySource } from '../activities/policy/load-policy.ts';
import { countPhases } from '../activities/temporal/phase-counts.ts';
import type { Identity } from '../activities/vault/identity.ts';
import { dataConverter } from '../client/data-converter/index.ts';
import type { Health } from '../domain/health.ts';
import type { Role } from '../domain/names.ts';
import { scheduleIdOf, taskQueueOf, VERSION } from '../domain/names.ts';
import type { Alerts } from './alerts.ts';
import type { AuditTrail } from './audit-trail.ts';
import type { ControlPlaneSettings } from './config.ts';
import type { Foundation } from './foundation.ts';
import { LinkWatch, warningIn } from './link-watch.ts';
import { RegistrationWatch } from './registration-watch.ts';
import type { Metrics } from './metrics/registry.ts';
import { createNewsTeller } from './news.ts';
import type { RoleRun } from './roles/role.ts';
import { linkSchedules, reconcileSchedules } from './schedules.ts';
import type { RoleWorkflows } from './workflows.ts';
import { createWorker } from './temporal.ts';

export interface LinkOptions {
  readonly settings: ControlPlaneSettings;
  readonly clusterId: string;
  readonly writer: string;
  /** What the cluster's processes do. */
  readonly roles: () => Promise<readonly Role[]>;
  readonly identity: Identity;
  readonly connection: NativeConnection;
  readonly namespace: string;
  /** Where this process runs workflows, and those that it runs on the queue of the role. */
  readonly workflowQueue: string;
  readonly workflows: RoleWorkflows;
  readonly client: Client;
  readonly searchAttributes: readonly string[];
  readonly api: KubeReader;
  readonly policy: PolicySource;
  readonly audit: Pick<AuditTrail, 'record' | 'leases' | 'publicKeyPem' | 'sign'>;
  readonly alerts: Alerts;
  /** The emergency stop. */
  readonly freeze: HeartbeatDeps['freeze'];
  /** Where the control plane is reported on as a part among others; heartbeats carry all of them. */
  readonly health: Health;
  readonly metrics: Pick<Metrics, 'setControlPlaneLost' | 'onScheduleRun'>;
  readonly closeLast: Foundation['closeLast'];
  readonly logger: Logger;
}

/** A clock that is this far off makes tokens invalid sooner or later. */
const CLOCK_WARNING_MS = 30_000;
/** By which schedule each is called. */
const SCHEDULES = { registerCluster: 'registration', sendHeartbeat: 'heartbeat' } as const;

/**
 * Makes the link to the control plane: registration and heartbeats by schedule, and alerts. The cluster is registered as
 * soon as it runs.
 */
export async function createControlPlaneLink(options: LinkOptions): Promise<RoleRun> {
  const { settings, clusterId, writer, client, audit, alerts, health, metrics, logger } = options;
  const controlPlane = createControlPlane({ url: settings.url, tls: settings.tls, identity: options.identity });
  const watch = new LinkWatch(settings.lostAfterMs);
  const registration = new RegistrationWatch();
  const versions = { connector: VERSION, node: process.versions.node };
  const components = () => health.components();
  const report = (activity: keyof LinkActivities, outcome: 'succeeded' | 'failed') => {
    health.report('control-plane', watch.health());
    metrics.setControlPlaneLost(watch.isLost);
    metrics.onScheduleRun(SCHEDULES[activity], outcome);
  };

  const tellAll = createNewsTeller({ audit, logger });
  const warn = onceEach((warning) => logger.warn({ alert: 'control-plane-warning' }, warning));

  const worker = await createWorker({
    connection: options.connection,
    namespace: options.namespace,
    taskQueue: taskQueueOf(clusterId, 'registration'),
    ...options.workflows,
    activities: {
      ...createRelayActivities({ clusterId, controlPlane, publicKeyPem: audit.publicKeyPem, sign: audit.sign }),
      ...createLinkActivities({
        controlPlane,
        describeRegistration: async () =>
          describeRegistration({
            clusterId,
            hostname: hostname(),
            labels: settings.labels,
            roles: await options.roles(),
            versions,
            auditKeys: [audit.publicKeyPem],
            cluster: clusterFacts(options.api),
            policy: options.policy,
          }),
        describeHeartbeat: () =>
          describeHeartbeat({
            clusterId,
            writer,
            versions,
            now: () => new Date(),
            countPackages: () => countPhases(client.workflow, clusterId, options.searchAttributes, new Date()),
            leases: audit.leases,
            policy: options.policy,
            freeze: options.freeze,
            components,
            clockOffsetMs: controlPlane.clockOffsetMs,
            alerts: () => alerts.counts,
          }),
        onAnswer(activity, answer) {
          registration.answered(activity, new Date());
          tellAll(watch.answered());
          report(activity, 'succeeded');
          alerts.deliverSoon();
          const offsetMs = controlPlane.clockOffsetMs() ?? 0;
          if (Math.abs(offsetMs) > CLOCK_WARNING_MS)
            warn("This machine's clock and the control plane's are far apart.");
          const warning = warningIn(answer, VERSION);
          if (warning !== undefined) warn(warning);
        },
        onFailure(activity, error) {
          registration.failed(error);
          logger.warn({ activity, err: error }, 'the control plane could not be told');
          tellAll(watch.failed(error, Date.now()));
          report(activity, 'failed');
        },
      }),
    },
    dataConverter,
    maxConcurrentActivityTaskExecutions: 2,
    shutdownGraceTime: '5s',
  });
  await reconcileSchedules(client.schedule, linkSchedules(clusterId, options.workflowQueue));
  alerts.deliverThrough(controlPlane);
  options.closeLast(() => controlPlane.close()); // alerts go through it to the end

  return {
    worker,
    registration: () => registration.report(),
    async run() {
      const running = worker.run();
      await registerNow(options);
      await running;
    },
    shutdown: () => worker.shutdown(),
    close: () => Promise.resolve(),
  };
}

/** Not in up to five minutes: whoever installs a cluster looks for it now. A schedule that somebody paused stays so. */
async function registerNow({ client, clusterId, logger }: LinkOptions): Promise<void> {
  try {
    const schedule = client.schedule.getHandle(scheduleIdOf(clusterId, 'registration'));
    if (!(await schedule.describe()).state.paused) await schedule.trigger();
  } catch (error) {
    logger.warn({ err: error }, 'the registration waits for its schedule');
  }
}

/** Tells each text once in the life of this process. */
function onceEach(tell: (text: string) => void): (text: string) => void {
  const told = new Set<string>();
  return (text) => {
    if (!told.has(text)) tell(text);
    told.add(text);
  };
}
