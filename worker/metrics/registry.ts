import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import { ALERTS } from '../../domain/alerts.ts';
import type { AuditEvent } from '../../domain/audit.ts';
import type { ErrorCode } from '../../domain/errors.ts';
import { isErrorCode } from '../../domain/errors.ts';
import type { FreezeState } from '../../domain/freeze.ts';
import type { ComponentHealth } from '../../domain/health.ts';
import type { Dropped } from '../../domain/metrics.ts';
import { VERSION } from '../../domain/names.ts';
import type { AuditState } from '../audit-trail.ts';
import type { MetricName } from './catalogue.ts';
import { METRICS } from './catalogue.ts';

/** What is read when somebody scrapes, rather than kept up to date all the time. */
export interface MetricSources {
  readonly simulated: boolean;
  isReady(): boolean;
  components(): readonly ComponentHealth[];
  /** Undefined where the process does not know of it. */
  readonly freeze: (() => FreezeState) | undefined;
  audit(): AuditState;
  /** One of each role. */
  workers(): readonly { readonly numInFlightActivities: number; readonly numCachedWorkflows: number }[];
  now(): Date;
}

/** What the parts of a worker tell of themselves; counting never throws and never waits. */
export interface Metrics {
  /** To be called with each entry that the audit log has taken: most of what there is to count is in there. */
  onRecorded(event: AuditEvent): void;
  onUnrecorded(): void;
  onTrouble(trouble: string, code: ErrorCode): void;
  onCall(call: {
    readonly route: string;
    readonly status: number;
    readonly code?: ErrorCode;
    readonly seconds: number;
  }): void;
  setConnections(count: number): void;
  setCertificate(part: string, kind: string, expiresAt: Date): void;
  setControlPlaneLost(isLost: boolean): void;
  onScheduleRun(schedule: string, outcome: 'succeeded' | 'failed'): void;
  onAlert(type: string): void;
  /** What became of alerts until now. */
  setAlerts(counts: { readonly waiting: number; readonly dropped: number }): void;
  /** What became of batches of cluster metrics until now. */
  setBatches(counts: { readonly waiting: number; readonly dropped: Dropped }): void;
  readFrom(sources: MetricSources): void;
  readonly contentType: string;
  /** In Prometheus' text format. */
  render(): Promise<string>;
}

/** Of prom-client's own: gauges that end as only counters may. */
const MISNAMED = ['nodejs_active_handles_total', 'nodejs_active_requests_total', 'nodejs_active_resources_total'];

const DURATIONS_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];

/** A registry of its own for each worker: tests run several in one process. */
export function createMetrics(): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  for (const name of MISNAMED) registry.removeSingleMetric(name);
  const settings = <Name extends MetricName>(name: Name) => {
    const { help, labels } = METRICS[name];
    return { name, help, labelNames: labels, registers: [registry] };
  };
  const counter = (name: MetricName) => new Counter<string>(settings(name));
  const gauge = (name: MetricName, collect?: (this: Gauge) => void) =>
    new Gauge<string>({ ...settings(name), ...(collect && { collect }) });
  let sources: MetricSources | undefined;

  gauge('byoc_build_info').set({ version: VERSION, node: process.versions.node }, 1);
  gauge('byoc_simulated', function () {
    if (sources) this.set(sources.simulated ? 1 : 0);
  });
  gauge('byoc_ready', function () {
    this.set(sources?.isReady() ? 1 : 0);
  });
  gauge('byoc_component_state', function () {
    this.reset();
    for (const { name: component, state } of sources?.components() ?? []) {
      for (const one of ['ok', 'degraded', 'down']) this.set({ component, state: one }, one === state ? 1 : 0);
    }
  });
  gauge('byoc_freeze_state', function () {
    const state = sources?.freeze?.().state;
    if (state === undefined) return this.reset(); // rather than a state that nobody knows
    for (const one of ['open', 'frozen', 'unknown']) this.set({ state: one }, one === state ? 1 : 0);
  });
  gauge('byoc_audit_unuploaded_entries', function () {
    const bucket = sources?.audit().bucket;
    if (bucket) this.set(bucket.waiting);
    else this.remove(); // rather than a 0 that nobody knows
  });
  gauge('byoc_audit_upload_failing_seconds', function () {
    const bucket = sources?.audit().bucket;
    if (!sources || !bucket) return this.remove();
    const { failingSince } = bucket;
    this.set(failingSince === undefined ? 0 : (sources.now().getTime() - Date.parse(failingSince)) / 1000);
  });
  gauge('byoc_worker_activities_in_flight', function () {
    this.set(sum(sources?.workers().map(({ numInFlightActivities }) => numInFlightActivities)));
  });
  gauge('byoc_worker_workflows_cached', function () {
    this.set(sum(sources?.workers().map(({ numCachedWorkflows }) => numCachedWorkflows)));
  });

  const counted = {
    packages: counter('byoc_packages_total'),
    errors: counter('byoc_package_errors_total'),
    votes: counter('byoc_votes_total'),
    refused: counter('byoc_refused_calls_total'),
    entries: counter('byoc_audit_entries_total'),
    policyBroken: gauge('byoc_policy_broken'),
    keys: new KeyCounts(gauge('byoc_keys')),
  };
  const unrecorded = counter('byoc_audit_failures_total');
  const troubles = counter('byoc_activity_troubles_total');
  const calls = counter('byoc_agent_calls_total');
  const durations = new Histogram<string>({
    ...settings('byoc_agent_call_duration_seconds'),
    buckets: DURATIONS_SECONDS,
  });
  const connections = gauge('byoc_agent_connections');
  const certificates = gauge('byoc_certificate_expires_timestamp_seconds');
  const controlPlaneLost = gauge('byoc_control_plane_lost');
  const runs = counter('byoc_schedule_runs_total');
  const lastSuccess = gauge('byoc_schedule_last_success_timestamp_seconds');
  const alerts = counter('byoc_alerts_total');
  // A counter that appears with its first event has not increased for Prometheus.
  for (const type of Object.keys(ALERTS)) alerts.inc({ type }, 0);
  const waiting = { alerts: gauge('byoc_alerts_waiting'), batches: gauge('byoc_metrics_waiting_batches') };
  const dropped = {
    alerts: risingTo(counter('byoc_alerts_dropped_total')),
    batches: risingTo(counter('byoc_metrics_dropped_batches_total')),
  };

  return {
    onRecorded: (event) => count(event, counted),
    onUnrecorded: () => unrecorded.inc(),
    onTrouble: (trouble, code) => troubles.inc({ trouble, code }),
    onCall({ route, status, code = '', seconds }) {
      calls.inc({ route, status, code });
      durations.observe({ route }, seconds);
    },
    setConnections: (open) => connections.set(open),
    setCertificate: (part, kind, expiresAt) => certificates.set({ part, kind }, expiresAt.getTime() / 1000),
    setControlPlaneLost: (isLost) => controlPlaneLost.set(isLost ? 1 : 0),
    onScheduleRun(schedule, outcome) {
      runs.inc({ schedule, outcome });
      if (outcome === 'succeeded') lastSuccess.set({ schedule }, Date.now() / 1000);
    },
    onAlert: (type) => alerts.inc({ type }),
    setAlerts(counts) {
      waiting.alerts.set(counts.waiting);
      dropped.alerts({}, counts.dropped);
    },
    setBatches(counts) {
      waiting.batches.set(counts.waiting);
      for (const [reason, count] of Object.entries(counts.dropped)) dropped.batches({ reason }, count);
    },
    readFrom: (given) => void (sources = given),
    contentType: registry.contentType,
    render: () => registry.metrics(),
  };
}

/** For what is counted elsewhere, from 0 on: raises a counter to what the count is now. */
function risingTo(counter: Counter): (labels: Record<string, string>, count: number) => void {
  const known = new Map<string, number>();
  return (labels, count) => {
    const id = JSON.stringify(labels);
    counter.inc(labels, Math.max(0, count - (known.get(id) ?? 0)));
    known.set(id, count);
  };
}

function sum(counts: readonly number[] = []): number {
  return counts.reduce((total, count) => total + count, 0);
}

interface Counted {
  readonly packages: Counter;
  readonly errors: Counter;
  readonly votes: Counter;
  readonly refused: Counter;
  readonly entries: Counter;
  readonly policyBroken: Gauge;
  readonly keys: KeyCounts;
}

function count({ type, detail, actor, outcome }: AuditEvent, counted: Counted): void {
  counted.entries.inc({ type });
  const [subject, what = ''] = type.split('.');
  if (subject === 'package') {
    counted.packages.inc({ stage: what });
    const code = member(detail['error'], 'code');
    if (code !== undefined) counted.errors.inc({ code: known(code) });
  }
  switch (type) {
    case 'vote.recorded': {
      const decision =
        detail['decision'] === 'approve' || detail['decision'] === 'reject' ? detail['decision'] : 'other';
      counted.votes.inc({ decision, proof: actor.proof, result: outcome === 'refused' ? 'refused' : 'counted' });
      break;
    }
    case 'call.refused':
      counted.refused.inc({ code: known(detail['code']) });
      break;
    case 'policy.loaded':
    case 'policy.broken':
      counted.policyBroken.set(type === 'policy.broken' ? 1 : 0);
      break;
    case 'key.loaded':
    case 'key.revoked':
    case 'key.removed':
      counted.keys.take(type, detail);
  }
}

function member(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}

/** A label has values of ours only. */
function known(code: unknown): string {
  return isErrorCode(code) ? code : 'other';
}

/** Counts keys from the entries that tell what became of each. */
class KeyCounts {
  readonly #gauge: Gauge;
  readonly #states = new Map<string, { readonly use: string; readonly state: 'trusted' | 'revoked' }>();

  constructor(gauge: Gauge) {
    this.#gauge = gauge;
  }

  take(type: 'key.loaded' | 'key.revoked' | 'key.removed', detail: AuditEvent['detail']): void {
    const use = String(detail['use']);
    const id = JSON.stringify([use, detail['name'], detail['fingerprint']]);
    if (type === 'key.removed') this.#states.delete(id);
    else this.#states.set(id, { use, state: type === 'key.revoked' ? 'revoked' : 'trusted' });
    for (const state of ['trusted', 'revoked'] as const) {
      const keys = [...this.#states.values()].filter((one) => one.use === use && one.state === state);
      this.#gauge.set({ use, state }, keys.length);
    }
  }
}
