import { z } from 'zod';
import { ALLOWED_LABELS } from './redact/labels.ts';
import { redactionPolicySchema } from './redact/kinds.ts';

/** What is asked of Prometheus, what may leave the cluster, and how much of it. */

const querySchema = z.strictObject({
  /** Under this name the series are sent. */
  name: z.string().regex(/^[a-z][a-z0-9-]{0,62}$/, 'must be small letters, digits and dashes'),
  promql: z.string().min(1).max(4_096),
  /** Asks for what was in that time, instead of for what is now. */
  range: z
    .strictObject({ lastSeconds: z.int().min(1).max(3_600), stepSeconds: z.int().min(1).max(3_600) })
    .refine(({ lastSeconds, stepSeconds }) => lastSeconds / stepSeconds <= 1_000, 'must have at most 1,000 steps')
    .optional(),
});

export type MetricsQuery = z.infer<typeof querySchema>;

/** Of cluster, nodes and workloads, from kube-state-metrics, node-exporter and the kubelet, as they are installed everywhere. */
export const DEFAULT_QUERIES: readonly MetricsQuery[] = [
  { name: 'targets-up', promql: 'sum by (job) (up)' },
  { name: 'nodes', promql: 'sum by (condition, status) (kube_node_status_condition == 1)' },
  { name: 'node-cpu-used', promql: '1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[2m]))' },
  { name: 'node-memory-used', promql: '1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes' },
  {
    name: 'node-disk-used',
    promql:
      'max by (instance) (1 - node_filesystem_avail_bytes{mountpoint="/"} / node_filesystem_size_bytes{mountpoint="/"})',
  },
  { name: 'pods', promql: 'sum by (namespace, phase) (kube_pod_status_phase)' },
  {
    name: 'container-restarts',
    promql: 'sum by (namespace, pod, container) (increase(kube_pod_container_status_restarts_total[5m])) > 0',
  },
  { name: 'deployments-unavailable', promql: 'kube_deployment_status_replicas_unavailable > 0' },
  {
    name: 'workload-cpu',
    promql: 'sum by (namespace, pod) (rate(container_cpu_usage_seconds_total{container!=""}[2m]))',
  },
  { name: 'workload-memory', promql: 'sum by (namespace, pod) (container_memory_working_set_bytes{container!=""})' },
  { name: 'alerts', promql: 'ALERTS{alertstate="firing"}' },
];

export const metricsConfigSchema = z.strictObject({
  queries: z
    .array(querySchema)
    .min(1)
    .max(100)
    .refine((all) => new Set(all.map(({ name }) => name)).size === all.length, 'must have different names')
    .default([...DEFAULT_QUERIES]),
  /** Labels whose values are sent, redacted; those of all others are hidden. */
  labels: z.array(z.string().min(1)).default([...ALLOWED_LABELS]),
  redaction: redactionPolicySchema.prefault({}),
  limits: z
    .strictObject({
      seriesPerQuery: z.int().min(1).max(50_000).default(2_000),
      bytesPerQuery: z
        .int()
        .min(1_024)
        .max(64 * 1024 * 1024)
        .default(8 * 1024 * 1024),
      queryTimeoutSeconds: z.int().min(1).max(60).default(10),
    })
    .prefault({}),
});

export type MetricsConfig = z.infer<typeof metricsConfigSchema>;

/** One series as it is sent; the labels are redacted. */
export interface Series {
  readonly query: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Milliseconds since 1970, and the value; only finite ones, because JSON has no others. */
  readonly samples: readonly (readonly [number, number])[];
}

export interface MetricsBatch {
  /** Also the idempotency key: the same batch counts once, however often it is sent. */
  readonly id: string;
  readonly collectedAt: string;
  readonly series: readonly Series[];
  /** Set on what is made up. */
  readonly simulated?: true;
}

/** What one look at Prometheus gave. */
export interface Collected {
  readonly series: number;
  readonly batches: number;
  /** Names of queries that gave nothing because they failed, with why. */
  readonly failed: readonly { readonly query: string; readonly code: string }[];
  /** Names of queries whose answer is known to be incomplete. */
  readonly partial: readonly string[];
  /** What was left out: series above the limit, samples that are no finite number. */
  readonly omitted: { readonly series: number; readonly samples: number };
  /** What was redacted in labels, by kind. */
  readonly redacted: Readonly<Record<string, number>>;
}

/** Why batches were given up: too old, too many, or refused for good. */
export type DropReason = 'age' | 'size' | 'refused' | 'unreadable';
export type Dropped = Readonly<Record<DropReason, number>>;

/** What one round of delivery did. */
export interface Delivered {
  readonly delivered: number;
  readonly waiting: { readonly batches: number; readonly bytes: number };
  /** Since the process began. */
  readonly dropped: Dropped;
}
