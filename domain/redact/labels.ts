import type { Counts, Redactor } from './redactor.ts';
import { addCounts } from './redactor.ts';

/** The labels of one series, as Prometheus gives them; the name of the metric is `__name__`. */
export type Labels = Readonly<Record<string, string>>;

/**
 * Labels whose values are about machines and workloads. All others are hidden: an application may put anything into
 * a label, and no list of what is personal is ever complete.
 */
export const ALLOWED_LABELS: readonly string[] = [
  ...['__name__', 'job', 'instance', 'cluster', 'namespace', 'node', 'pod', 'container', 'service', 'endpoint'],
  ...['deployment', 'statefulset', 'daemonset', 'replicaset', 'job_name', 'cronjob', 'horizontalpodautoscaler'],
  ...['persistentvolume', 'persistentvolumeclaim', 'storageclass', 'owner_kind', 'owner_name', 'created_by_kind'],
  ...['phase', 'condition', 'status', 'reason', 'resource', 'unit', 'mode', 'cpu', 'device', 'fstype', 'mountpoint'],
  ...['le', 'quantile', 'code', 'method', 'verb', 'scope', 'severity', 'alertname', 'alertstate', 'query'],
];

export interface RedactedLabels {
  readonly labels: Labels;
  readonly counts: Counts;
}

/**
 * Labels without what is personal or secret: values of labels that are not allowed are hidden as a whole, and all
 * others, and the names themselves, are redacted as text is.
 */
export function redactLabels(labels: Labels, allowed: ReadonlySet<string>, redactor: Redactor): RedactedLabels {
  const counts = {};
  const entries = Object.entries(labels).map(([name, value]) => {
    const about = redactor.redact(name);
    const kept = allowed.has(name) ? redactor.redact(value) : { text: redactor.hide(value), counts: {} };
    addCounts(counts, about.counts);
    addCounts(counts, kept.counts);
    return [about.text, kept.text] as const;
  });
  return { labels: Object.fromEntries(entries), counts };
}
