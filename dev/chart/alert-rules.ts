import type { AlertType } from '../../domain/alerts.ts';
import { ALERTS } from '../../domain/alerts.ts';
import type { MetricName } from '../../worker/metrics/catalogue.ts';

/** An alerting rule of Prometheus; the chart adds where its runbook is (docs/alerts.md, a section for each). */
export interface AlertRule {
  readonly alert: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels: {
    readonly severity: 'critical' | 'warning' | 'info';
    /** The alert of domain/alerts.ts that the same thing raises towards the control plane. */
    readonly byoc_alert?: AlertType;
  };
  readonly annotations: { readonly summary: string; readonly description: string };
}

/** Pods come and go and say the same: what is about the cluster is one alert, whichever of them say it. */
const CLUSTER = 'without (instance, pod, container, endpoint, node)';

const metric = (name: MetricName, selector = ''): string => name + selector;

/**
 * Whether an alert of this type was raised in the last quarter of an hour. A counter that appears with a value, because the
 * pod was started a moment before, has not increased for Prometheus; that is what the second half is for.
 */
function raised(type: AlertType): string {
  const counter = metric('byoc_alerts_total', `{type="${type}"}`);
  return `increase(${counter}[15m]) > 0\nor\n(${counter} > 0 unless ${counter} offset 15m)`;
}

/** A rule for one type of alert; what it says and how bad it is stands in domain/alerts.ts. */
function rule(
  type: AlertType,
  alert: string,
  description: string,
  { expr = raised(type), hold }: { readonly expr?: string; readonly hold?: string } = {},
): AlertRule {
  const { severity, summary } = ALERTS[type];
  return {
    alert,
    expr,
    ...(hold !== undefined && { for: hold }),
    labels: { severity, byoc_alert: type },
    annotations: { summary, description },
  };
}

const state = (name: MetricName, selector: string): string => `max ${CLUSTER} (${metric(name, selector)}) == 1`;

const DAYS_LEFT = `(${metric('byoc_certificate_expires_timestamp_seconds')} - time()) / 86400`;
const CERTIFICATE =
  'For {{ $labels.pod }} the certificate of {{ $labels.part }} ({{ $labels.kind }}) is good for {{ $value | humanize }} days.';

/** One rule for each type of alert. What lasts is told as long as it lasts, what happened for a quarter of an hour. */
const BY_TYPE: Readonly<Record<AlertType, AlertRule>> = {
  'authentication-failed': rule(
    'authentication-failed',
    'ByocAuthenticationFailed',
    '{{ $labels.pod }} met a caller, a login or a token that was not accepted. The audit log has the entry.',
  ),
  'package-denied': rule(
    'package-denied',
    'ByocPackageDenied',
    'A package was denied in {{ $labels.namespace }}: byoc_package_errors_total has the code, the audit log the package.',
  ),
  'package-failed': rule(
    'package-failed',
    'ByocPackageFailed',
    'A package failed, was rolled back or was cut off. The audit log says which, and what was written.',
  ),
  'control-plane-lost': rule(
    'control-plane-lost',
    'ByocControlPlaneLost',
    'No heartbeat is taken. Packages that are here already go on; new ones do not come.',
    { expr: state('byoc_control_plane_lost', ''), hold: '1m' },
  ),
  'part-unhealthy': rule(
    'part-unhealthy',
    'ByocPartDown',
    'For {{ $labels.pod }} the part {{ $labels.component }} is down. /health has the code.',
    { expr: `${metric('byoc_component_state', '{state="down"}')} == 1`, hold: '5m' },
  ),
  'certificate-expiring': rule('certificate-expiring', 'ByocCertificateExpiresSoon', CERTIFICATE, {
    expr: `${DAYS_LEFT} < 14`,
    hold: '1h',
  }),
  frozen: rule('frozen', 'ByocFrozen', 'Somebody pulled the emergency stop. Nothing is written until it is lifted.', {
    expr: state('byoc_freeze_state', '{state="frozen"}'),
  }),
  'key-revoked': rule(
    'key-revoked',
    'ByocKeyRevoked',
    'A key that signs packages or votes was revoked. If nobody of yours did that, find out who did.',
  ),
  'policy-broken': rule(
    'policy-broken',
    'ByocPolicyBroken',
    'Every package is denied until the policy file can be read. The log of the worker has line and column.',
    { expr: state('byoc_policy_broken', '') },
  ),
  'audit-not-uploaded': rule(
    'audit-not-uploaded',
    'ByocAuditNotUploaded',
    '{{ $labels.pod }} has entries that the bucket has not taken for {{ $value | humanizeDuration }}. No package begins meanwhile.',
    { expr: `${metric('byoc_audit_upload_failing_seconds')} > 3600` },
  ),
  'metrics-dropped': rule(
    'metrics-dropped',
    'ByocMetricsDropped',
    '{{ $labels.pod }} gave up metrics that the Insight Engine had not taken within an hour, or that it refused.',
  ),
  'audit-lost': rule(
    'audit-lost',
    'ByocAuditLost',
    'The disk of {{ $labels.pod }} had less of its audit log than was published. What was in the bucket is not lost.',
  ),
  'audit-broken': rule(
    'audit-broken',
    'ByocAuditBroken',
    'What {{ $labels.pod }} has and what the bucket has contradict each other. Treat it as an incident.',
  ),
  'audit-unavailable': rule(
    'audit-unavailable',
    'ByocAuditUnavailable',
    '{{ $labels.pod }} cannot write its audit log, so it executes nothing. Its disk may be full.',
  ),
};

/** What no entry of the audit log tells. */
const BESIDES: readonly AlertRule[] = [
  {
    alert: 'ByocAbsent',
    expr: `absent(${metric('byoc_build_info')})`,
    for: '5m',
    labels: { severity: 'critical' },
    annotations: {
      summary: 'No connector is seen by Prometheus.',
      description:
        'Either none runs, or the scrapes of port 8005 fail. No other alert of the connector works meanwhile.',
    },
  },
  {
    alert: 'ByocNotReady',
    expr: `${metric('byoc_ready')} == 0`,
    for: '5m',
    labels: { severity: 'critical' },
    annotations: {
      summary: 'A worker of the connector cannot do its work.',
      description: '{{ $labels.pod }} is not ready. byoc_component_state says which part is down.',
    },
  },
  {
    alert: 'ByocPartDegraded',
    expr: `${metric('byoc_component_state', '{state="degraded"}')} == 1`,
    for: '1h',
    labels: { severity: 'info' },
    annotations: {
      summary: 'A part that the connector stands on is not as it should be.',
      description: 'For {{ $labels.pod }} the part {{ $labels.component }} is degraded. /health has a sentence.',
    },
  },
  {
    alert: 'ByocFreezeUnknown',
    expr: state('byoc_freeze_state', '{state="unknown"}'),
    for: '2m',
    labels: { severity: 'critical' },
    annotations: {
      summary: 'A worker cannot tell whether execution is frozen, so it executes nothing.',
      description: 'It cannot read the freeze in the API server, or somebody deleted it.',
    },
  },
  {
    alert: 'ByocHeartbeatMissed',
    expr: `time() - max ${CLUSTER} (${metric('byoc_schedule_last_success_timestamp_seconds', '{schedule="heartbeat"}')}) > 180`,
    for: '1m',
    labels: { severity: 'critical' },
    annotations: {
      summary: 'The heartbeat has not been sent for three minutes.',
      description: 'Temporal does not start it, or no pod takes it: the schedule may be paused.',
    },
  },
  {
    alert: 'ByocScheduleFailing',
    expr: `sum ${CLUSTER} (increase(${metric('byoc_schedule_runs_total', '{outcome="failed"}')}[15m])) > 3`,
    for: '5m',
    labels: { severity: 'warning' },
    annotations: {
      summary: 'What the connector does again and again fails.',
      description: 'Runs of {{ $labels.schedule }} failed {{ $value | humanize }} times in a quarter of an hour.',
    },
  },
  {
    alert: 'ByocCallsRefused',
    expr: `sum ${CLUSTER} (rate(${metric('byoc_agent_calls_total', '{code="CALLER_UNAUTHENTICATED"}')}[5m])) > 1`,
    for: '5m',
    labels: { severity: 'warning' },
    annotations: {
      summary: 'Somebody tries to call port 8005 again and again without a proof.',
      description:
        '{{ $value | humanize }} calls a second are refused. The audit log has their addresses (http.calls).',
    },
  },
  {
    alert: 'ByocCertificateExpiresNow',
    expr: `${DAYS_LEFT} < 3`,
    for: '10m',
    labels: { severity: 'critical' },
    annotations: {
      summary: 'A certificate of the connector expires within three days, or has expired.',
      description: CERTIFICATE,
    },
  },
];

export const ALERT_GROUPS: readonly { readonly name: string; readonly rules: readonly AlertRule[] }[] = [
  { name: 'byoc-alerts', rules: Object.values(BY_TYPE) },
  { name: 'byoc-health', rules: BESIDES },
];
