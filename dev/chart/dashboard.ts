import type { MetricName } from '../../worker/metrics/catalogue.ts';

/** A Grafana dashboard (schema 39): what somebody on call looks at first, top to bottom. */
export function dashboard(): object {
  return {
    uid: 'byoc-connector',
    title: 'BYOC Connector',
    tags: ['byoc'],
    timezone: 'utc',
    schemaVersion: 39,
    refresh: '30s',
    time: { from: 'now-6h', to: 'now' },
    templating: {
      list: [
        { name: 'datasource', label: 'Prometheus', type: 'datasource', query: 'prometheus' },
        {
          name: 'namespace',
          label: 'Namespace',
          type: 'query',
          datasource: DATASOURCE,
          query: { query: `label_values(${metric('byoc_build_info')}, namespace)`, refId: 'namespaces' },
          refresh: 2,
          includeAll: true,
          allValue: '.*',
        },
      ],
    },
    panels: PANELS.map(panel),
  };
}

const DATASOURCE = { type: 'prometheus', uid: '${datasource}' };

interface Panel {
  readonly title: string;
  readonly description: string;
  readonly type: 'stat' | 'timeseries' | 'table';
  /** Of 24. */
  readonly width: number;
  readonly targets: readonly (readonly [expr: string, legend: string])[];
  readonly unit?: string;
  /** From which value on it is red. */
  readonly redFrom?: number;
  /** Below which value it is red. */
  readonly redBelow?: number;
}

/** A metric of ours in the namespaces that are chosen, with more labels where there are any. */
function metric(name: MetricName, labels = ''): string {
  return `${name}{namespace=~"$namespace"${labels && `,${labels}`}}`;
}

const PANELS: readonly Panel[] = [
  {
    title: 'Ready workers',
    description: 'Workers that can do their work.',
    type: 'stat',
    width: 4,
    targets: [[`sum(${metric('byoc_ready')})`, '']],
    redBelow: 1,
  },
  {
    title: 'Frozen',
    description: '1 while the emergency stop is pulled.',
    type: 'stat',
    width: 4,
    targets: [[`max(${metric('byoc_freeze_state', 'state="frozen"')})`, '']],
    redFrom: 1,
  },
  {
    title: 'Control plane lost',
    description: '1 while it takes no heartbeats.',
    type: 'stat',
    width: 4,
    targets: [[`max(${metric('byoc_control_plane_lost')})`, '']],
    redFrom: 1,
  },
  {
    title: 'Policy broken',
    description: '1 while nothing runs because of it.',
    type: 'stat',
    width: 4,
    targets: [[`max(${metric('byoc_policy_broken')})`, '']],
    redFrom: 1,
  },
  {
    title: 'Days until a certificate expires',
    description: 'Of the certificate that expires first.',
    type: 'stat',
    width: 4,
    targets: [[`(min(${metric('byoc_certificate_expires_timestamp_seconds')}) - time()) / 86400`, '']],
    redBelow: 14,
  },
  {
    title: 'Versions',
    description: 'Workers by the version that they run.',
    type: 'stat',
    width: 4,
    targets: [[`count by (version) (${metric('byoc_build_info')})`, '{{version}}']],
  },
  {
    title: 'Parts that are not well',
    description: 'By worker: degraded or down.',
    type: 'table',
    width: 12,
    targets: [[`${metric('byoc_component_state', 'state!="ok"')} == 1`, '']],
  },
  {
    title: 'Alerts raised',
    description: 'Within each interval, by type.',
    type: 'timeseries',
    width: 12,
    targets: [[`sum by (type) (increase(${metric('byoc_alerts_total')}[$__rate_interval]))`, '{{type}}']],
  },
  {
    title: 'Packages',
    description: 'By what became of them.',
    type: 'timeseries',
    width: 12,
    targets: [[`sum by (stage) (increase(${metric('byoc_packages_total')}[$__rate_interval]))`, '{{stage}}']],
  },
  {
    title: 'Packages denied or failed',
    description: 'By error code.',
    type: 'timeseries',
    width: 12,
    targets: [[`sum by (code) (increase(${metric('byoc_package_errors_total')}[$__rate_interval]))`, '{{code}}']],
  },
  {
    title: 'Votes',
    description: 'Counted and refused.',
    type: 'timeseries',
    width: 8,
    targets: [
      [
        `sum by (decision, proof, result) (increase(${metric('byoc_votes_total')}[$__rate_interval]))`,
        '{{decision}} {{proof}} {{result}}',
      ],
    ],
  },
  {
    title: 'Calls of port 8005',
    description: 'A second, by route and status.',
    type: 'timeseries',
    width: 8,
    targets: [
      [`sum by (route, status) (rate(${metric('byoc_agent_calls_total')}[$__rate_interval]))`, '{{route}} {{status}}'],
    ],
    unit: 'reqps',
  },
  {
    title: 'How long calls take',
    description: 'Of 100 calls, 99 are faster.',
    type: 'timeseries',
    width: 8,
    targets: [
      [
        `histogram_quantile(0.99, sum by (le, route) (rate(${`byoc_agent_call_duration_seconds_bucket{namespace=~"$namespace"}`}[$__rate_interval])))`,
        '{{route}}',
      ],
    ],
    unit: 's',
  },
  {
    title: 'Audit entries that the bucket lacks',
    description: 'By worker.',
    type: 'timeseries',
    width: 8,
    targets: [[metric('byoc_audit_unuploaded_entries'), '{{pod}}']],
  },
  {
    title: 'Audit entries',
    description: 'Written a second, and those that could not be written.',
    type: 'timeseries',
    width: 8,
    targets: [
      [`sum(rate(${metric('byoc_audit_entries_total')}[$__rate_interval]))`, 'written'],
      [`sum(rate(${metric('byoc_audit_failures_total')}[$__rate_interval]))`, 'failed'],
    ],
  },
  {
    title: 'What is done again and again',
    description: 'Seconds since it last succeeded.',
    type: 'timeseries',
    width: 8,
    targets: [
      [`time() - max by (schedule) (${metric('byoc_schedule_last_success_timestamp_seconds')})`, '{{schedule}}'],
    ],
    unit: 's',
  },
  {
    title: 'Memory',
    description: 'Resident, by worker; the limit is 512 MiB.',
    type: 'timeseries',
    width: 12,
    targets: [['process_resident_memory_bytes{namespace=~"$namespace"} and on (instance) byoc_build_info', '{{pod}}']],
    unit: 'bytes',
  },
  {
    title: 'Activities and cached runs',
    description: 'Of all workers.',
    type: 'timeseries',
    width: 12,
    targets: [
      [`sum(${metric('byoc_worker_activities_in_flight')})`, 'activities'],
      [`sum(${metric('byoc_worker_workflows_cached')})`, 'runs in memory'],
    ],
  },
];

const COLUMNS = 24;
const HEIGHTS = { stat: 4, timeseries: 8, table: 8 } as const;

function panel(
  { title, description, type, targets, unit, redFrom, redBelow }: Panel,
  index: number,
  all: readonly Panel[],
): object {
  return {
    id: index + 1,
    title,
    description,
    type,
    datasource: DATASOURCE,
    gridPos: placeOf(index, all),
    targets: targets.map(([expr, legendFormat], target) => ({
      refId: String.fromCharCode('A'.charCodeAt(0) + target),
      datasource: DATASOURCE,
      expr,
      legendFormat,
      ...(type === 'timeseries' ? {} : { instant: true }),
      ...(type === 'table' && { format: 'table' }),
    })),
    fieldConfig: {
      defaults: {
        ...(unit !== undefined && { unit }),
        thresholds: {
          mode: 'absolute',
          steps:
            redBelow !== undefined
              ? [
                  { color: 'red', value: null },
                  { color: 'green', value: redBelow },
                ]
              : [{ color: 'green', value: null }, ...(redFrom === undefined ? [] : [{ color: 'red', value: redFrom }])],
        },
      },
      overrides: [],
    },
  };
}

/** Panels fill rows from left to right; those of a row are of one height. */
function placeOf(index: number, all: readonly Panel[]): object {
  let x = 0;
  let y = 0;
  let h = 0;
  for (const [at, { type, width }] of all.entries()) {
    if (x + width > COLUMNS) {
      x = 0;
      y += h;
    }
    h = HEIGHTS[type];
    if (at === index) return { x, y, w: width, h };
    x += width;
  }
  throw new Error('There is no such panel.');
}
