import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { stringify } from 'yaml';
import { ALERT_GROUPS } from '../../../dev/chart/alert-rules.ts';
import { ALERTS } from '../../../domain/alerts.ts';
import { createMetrics } from '../../../worker/metrics/registry.ts';
import { render } from '../../support/chart.ts';
import { runTool, tool } from '../../support/tools.ts';

// R24

/** What Prometheus scrapes, minute by minute in promtool's notation, and when the rule fires and when not. */
interface Case {
  readonly alert: string;
  readonly name: string;
  readonly series: Readonly<Record<string, string>>;
  readonly firesAt: readonly string[];
  readonly quietAt: readonly string[];
}

const POD = 'namespace="byoc",pod="byoc-0",instance="10.0.0.1:8005"';
const OTHER = 'namespace="byoc",pod="byoc-1",instance="10.0.0.2:8005"';

const severities = new Map(
  ALERT_GROUPS.flatMap(({ rules }) => rules.map(({ alert, labels }) => [alert, labels.severity])),
);

/** The rules that fire because an alert was raised. */
const BY_EVENT = ALERT_GROUPS.flatMap(({ rules }) => rules).flatMap(({ alert, expr, labels }) =>
  expr.includes('byoc_alerts_total') && labels.byoc_alert ? [{ alert, type: labels.byoc_alert }] : [],
);

const CASES: readonly Case[] = [
  ...BY_EVENT.flatMap(({ alert, type }) => [
    {
      alert,
      name: 'fires for a quarter of an hour when one is raised',
      series: { [`byoc_alerts_total{type="${type}",${POD}}`]: '0x9 1x40' },
      firesAt: ['11m', '24m'],
      quietAt: ['9m', '27m'],
    },
    {
      alert,
      name: 'fires also when it was raised before the first scrape, and not for old ones of a pod that goes on',
      series: { [`byoc_alerts_total{type="${type}",${POD}}`]: '_x9 1x40' },
      firesAt: ['10m', '20m'],
      quietAt: ['8m', '26m'],
    },
  ]),
  {
    alert: 'ByocControlPlaneLost',
    name: 'fires a minute after the first worker says so',
    series: { [`byoc_control_plane_lost{${POD}}`]: '0x4 1x10 0x10' },
    firesAt: ['7m'],
    quietAt: ['4m', '5m', '17m'],
  },
  {
    alert: 'ByocPartDown',
    name: 'fires when a part is down for five minutes',
    series: { [`byoc_component_state{component="vault",state="down",${POD}}`]: '0x4 1x20' },
    firesAt: ['11m'],
    quietAt: ['4m', '9m'],
  },
  {
    alert: 'ByocFrozen',
    name: 'fires at once, once for all pods',
    series: {
      [`byoc_freeze_state{state="frozen",${POD}}`]: '0x4 1x20',
      [`byoc_freeze_state{state="frozen",${OTHER}}`]: '0x5 1x20',
    },
    firesAt: ['5m', '10m'],
    quietAt: ['4m'],
  },
  {
    alert: 'ByocFreezeUnknown',
    name: 'fires after two minutes',
    series: { [`byoc_freeze_state{state="unknown",${POD}}`]: '0x4 1x20' },
    firesAt: ['8m'],
    quietAt: ['4m', '6m'],
  },
  {
    alert: 'ByocPolicyBroken',
    name: 'fires at once',
    series: { [`byoc_policy_broken{${POD}}`]: '0x4 1x5 0x10' },
    firesAt: ['6m'],
    quietAt: ['4m', '12m'],
  },
  {
    alert: 'ByocAuditNotUploaded',
    name: 'fires when uploads fail for an hour',
    series: { [`byoc_audit_upload_failing_seconds{${POD}}`]: '0+60x90' },
    firesAt: ['61m'],
    quietAt: ['60m'],
  },
  {
    alert: 'ByocAbsent',
    name: 'fires when nothing is scraped for five minutes',
    series: { [`byoc_build_info{version="0.1.0",${POD}}`]: '1x10 stale' },
    firesAt: ['20m'],
    quietAt: ['9m', '13m'],
  },
  {
    alert: 'ByocNotReady',
    name: 'fires when a worker is not ready for five minutes',
    series: { [`byoc_ready{${POD}}`]: '1x4 0x20', [`byoc_ready{${OTHER}}`]: '1x30' },
    firesAt: ['11m'],
    quietAt: ['4m', '9m'],
  },
  {
    alert: 'ByocPartDegraded',
    name: 'fires after an hour',
    series: { [`byoc_component_state{component="bucket",state="degraded",${POD}}`]: '1x90' },
    firesAt: ['61m'],
    quietAt: ['59m'],
  },
  {
    alert: 'ByocHeartbeatMissed',
    name: 'fires when the newest of all pods is older than three minutes',
    series: {
      // The first pod was replaced by the second, which beats until minute 10.
      [`byoc_schedule_last_success_timestamp_seconds{schedule="heartbeat",${POD}}`]: '0x30',
      [`byoc_schedule_last_success_timestamp_seconds{schedule="heartbeat",${OTHER}}`]: '0+60x10 600x20',
    },
    firesAt: ['15m'],
    quietAt: ['9m', '13m'],
  },
  {
    alert: 'ByocScheduleFailing',
    name: 'fires when more than three runs fail within a quarter of an hour',
    series: { [`byoc_schedule_runs_total{schedule="heartbeat",outcome="failed",${POD}}`]: '0x9 0+1x40' },
    firesAt: ['25m'],
    quietAt: ['9m', '12m'],
  },
  {
    alert: 'ByocCallsRefused',
    name: 'fires when more than one call a second is refused',
    series: {
      [`byoc_agent_calls_total{route="/execute",status="401",code="CALLER_UNAUTHENTICATED",${POD}}`]:
        '0+30x10 300+120x30',
    },
    firesAt: ['25m'],
    quietAt: ['9m'],
  },
  {
    alert: 'ByocCertificateExpiresSoon',
    name: 'fires two weeks before, if it is so for an hour',
    series: { [`byoc_certificate_expires_timestamp_seconds{part="agent",kind="server",${POD}}`]: `${13 * 86_400}x90` },
    firesAt: ['61m'],
    quietAt: ['30m'],
  },
  {
    alert: 'ByocCertificateExpiresNow',
    name: 'fires three days before',
    series: {
      [`byoc_certificate_expires_timestamp_seconds{part="agent",kind="server",${POD}}`]: `${2 * 86_400}x90`,
    },
    firesAt: ['11m'],
    quietAt: ['5m'],
  },
];

let folder: string;
let promtool: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'byoc-rules-'));
  promtool = await tool('promtool');
  const rule = (await render('full')).find(({ kind }) => kind === 'PrometheusRule');
  await writeFile(join(folder, 'rules.yaml'), stringify(rule?.['spec']));
}, 120_000);

afterAll(() => rm(folder, { recursive: true, force: true }));

/** Runs promtool's unit tests, each with series and expectations of its own. */
async function unitTests(tests: readonly object[]): Promise<{ code: number; output: string }> {
  const file = join(folder, 'tests.yaml');
  const all = tests.map((one) => ({ interval: '1m', ...one }));
  await writeFile(file, stringify({ rule_files: ['rules.yaml'], evaluation_interval: '1m', tests: all }));
  const { code, stdout, stderr } = await runTool(promtool, ['test', 'rules', file]);
  return { code, output: stdout + stderr };
}

function testOf({ alert, name, series, firesAt, quietAt }: Case): object {
  const expr = `count by (alertname, severity) (ALERTS{alertstate="firing",alertname="${alert}"})`;
  const firing = [{ labels: `{alertname="${alert}",severity="${severities.get(alert)}"}`, value: 1 }];
  return {
    name: `${alert} ${name}`,
    input_series: Object.entries(series).map(([one, values]) => ({ series: one, values })),
    promql_expr_test: [
      ...quietAt.map((at) => ({ expr, eval_time: at, exp_samples: [] })),
      ...firesAt.map((at) => ({ expr, eval_time: at, exp_samples: firing })),
    ],
  };
}

describe('the alert rules', () => {
  it('are good rules, says promtool', async () => {
    const { code, stdout, stderr } = await runTool(promtool, [
      'check',
      'rules',
      '--lint-fatal',
      join(folder, 'rules.yaml'),
    ]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain(`SUCCESS: ${severities.size} rules found`);
  });

  it('fire when they should and not before, each of them', async () => {
    expect([...new Set(CASES.map(({ alert }) => alert))].sort()).toEqual([...severities.keys()].sort());
    expect(await unitTests(CASES.map(testOf))).toEqual({ code: 0, output: expect.stringContaining('SUCCESS') });
  });

  it('would be found out if they did not', async () => {
    const wrong = CASES.filter(({ alert }) => alert === 'ByocFrozen').map((one) => ({ ...one, firesAt: ['4m'] }));
    expect(await unitTests(wrong.map(testOf))).toMatchObject({ code: 1 });
  });

  it('say what is wrong, how badly and where the runbook is', async () => {
    const url = 'https://github.com/neuralops/byoc-connector/blob/main/docs/alerts.md';
    const alertRuleTest = {
      eval_time: '70m',
      alertname: 'ByocAuditNotUploaded',
      exp_alerts: [
        {
          exp_labels: {
            severity: 'critical',
            byoc_alert: 'audit-not-uploaded',
            team: 'platform',
            namespace: 'byoc',
            pod: 'byoc-0',
            instance: '10.0.0.1:8005',
          },
          exp_annotations: {
            summary: ALERTS['audit-not-uploaded'].summary,
            description: 'byoc-0 has entries that the bucket has not taken for 1h 10m 0s. No package begins meanwhile.',
            runbook_url: `${url}#byocauditnotuploaded`,
          },
        },
      ],
    };
    const series = { series: `byoc_audit_upload_failing_seconds{${POD}}`, values: '0+60x90' };
    const result = await unitTests([{ input_series: [series], alert_rule_test: [alertRuleTest] }]);
    expect(result).toEqual({ code: 0, output: expect.stringContaining('SUCCESS') });
  });

  it('find each alert at zero when a worker begins, so that the first one is an increase', async () => {
    const text = await createMetrics().render();
    for (const type of Object.keys(ALERTS)) expect(text).toContain(`byoc_alerts_total{type="${type}"} 0`);
  });
});
