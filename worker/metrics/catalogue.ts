/**
 * Every metric of ours, by Prometheus' conventions (https://prometheus.io/docs/practices/naming/). docs/metrics.md shows
 * this list to operators, and a test holds the two together. Labels have few values, all known beforehand: nothing that
 * comes from outside becomes one.
 */
export const METRICS = {
  byoc_build_info: { type: 'gauge', labels: ['version', 'node'], help: 'Always 1; says what runs.' },
  byoc_simulated: { type: 'gauge', labels: [], help: '1 in simulation mode: nothing that it tells of is real.' },
  byoc_ready: {
    type: 'gauge',
    labels: [],
    help: '1 while the process can do what its roles are for, such as take packages in.',
  },
  byoc_component_state: {
    type: 'gauge',
    labels: ['component', 'state'],
    help: '1 for the state that a part is in: ok, degraded or down.',
  },
  byoc_freeze_state: {
    type: 'gauge',
    labels: ['state'],
    help: '1 for the state that the freeze is in: open, frozen or unknown; absent without the role execution.',
  },
  byoc_packages_total: {
    type: 'counter',
    labels: ['stage'],
    help: 'Packages by what became of them: verified, planned, approved, or an end.',
  },
  byoc_package_errors_total: {
    type: 'counter',
    labels: ['code'],
    help: 'Packages that were denied or failed, by error code.',
  },
  byoc_votes_total: {
    type: 'counter',
    labels: ['decision', 'proof', 'result'],
    help: 'Votes, counted or refused.',
  },
  byoc_refused_calls_total: {
    type: 'counter',
    labels: ['code'],
    help: 'Calls of activities that were refused and recorded, by error code.',
  },
  byoc_activity_troubles_total: {
    type: 'counter',
    labels: ['trouble', 'code'],
    help: 'Activities that did not succeed; away and waiting are tried again.',
  },
  byoc_policy_broken: { type: 'gauge', labels: [], help: '1 while the policy cannot be used, so nothing runs.' },
  byoc_keys: {
    type: 'gauge',
    labels: ['use', 'state'],
    help: 'Keys that were loaded, trusted or revoked, by what they sign.',
  },
  byoc_audit_entries_total: { type: 'counter', labels: ['type'], help: 'Audit entries that were written.' },
  byoc_audit_failures_total: { type: 'counter', labels: [], help: 'Audit entries that could not be written.' },
  byoc_audit_unuploaded_entries: {
    type: 'gauge',
    labels: [],
    help: 'Audit entries that the bucket does not have yet; absent without a bucket.',
  },
  byoc_audit_upload_failing_seconds: {
    type: 'gauge',
    labels: [],
    help: 'For how long uploads have failed; 0 while they work, absent without a bucket.',
  },
  byoc_certificate_expires_timestamp_seconds: {
    type: 'gauge',
    labels: ['part', 'kind'],
    help: 'When a certificate expires; (this - time()) / 86400 is days. Kinds are ca, client and server.',
  },
  byoc_control_plane_lost: { type: 'gauge', labels: [], help: '1 while the control plane takes no heartbeats.' },
  byoc_schedule_runs_total: {
    type: 'counter',
    labels: ['schedule', 'outcome'],
    help: 'Runs of what is done again and again: succeeded or failed.',
  },
  byoc_schedule_last_success_timestamp_seconds: {
    type: 'gauge',
    labels: ['schedule'],
    help: 'When it last succeeded here.',
  },
  byoc_alerts_total: { type: 'counter', labels: ['type'], help: 'Alerts that were raised.' },
  byoc_alerts_waiting: { type: 'gauge', labels: [], help: 'Alerts that wait here for the control plane.' },
  byoc_alerts_dropped_total: {
    type: 'counter',
    labels: [],
    help: 'Alerts that were given up before the control plane had them.',
  },
  byoc_metrics_waiting_batches: {
    type: 'gauge',
    labels: [],
    help: 'Batches of cluster metrics that wait here for the Insight Engine.',
  },
  byoc_metrics_dropped_batches_total: {
    type: 'counter',
    labels: ['reason'],
    help: 'Batches that were given up: too old (age), too many (size), refused, unreadable.',
  },
  byoc_agent_calls_total: {
    type: 'counter',
    labels: ['route', 'status', 'code'],
    help: "Calls of the agent's HTTP API; code is empty where nothing was refused.",
  },
  byoc_agent_call_duration_seconds: {
    type: 'histogram',
    labels: ['route'],
    help: 'How long calls took to be answered.',
  },
  byoc_agent_connections: { type: 'gauge', labels: [], help: "Open connections of the agent's HTTP API." },
  byoc_worker_activities_in_flight: { type: 'gauge', labels: [], help: 'Activities that run.' },
  byoc_worker_workflows_cached: { type: 'gauge', labels: [], help: 'Runs of workflows that are kept in memory.' },
} as const satisfies Record<
  string,
  { readonly type: 'counter' | 'gauge' | 'histogram'; readonly labels: readonly string[]; readonly help: string }
>;

export type MetricName = keyof typeof METRICS;
