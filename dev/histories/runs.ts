import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { generateKeyPair } from '../../client/sign.ts';
import { scheduleIdOf, workflowIdOf } from '../../domain/names.ts';
import type { Step } from '../../domain/wpk.ts';
import type { TestConnector, WaitingPackage } from '../../test/support/connector.ts';
import { neverReady } from '../../test/support/kubernetes.ts';
import type { WpkOptions } from '../../test/support/packages.ts';
import { applyStep, configMap, sign } from '../../test/support/packages.ts';
import { trustingPolicy } from '../../test/support/policies.ts';
import { until } from '../../test/support/until.ts';
import { startWorker } from '../connector.ts';
import { order } from '../servers/control-plane.ts';
import type { Stack } from '../stack.ts';

/** What a run is recorded on: a stack, and a connector whose worker is linked to it. */
export interface Stage {
  readonly connector: TestConnector;
  readonly stack: Stack;
}

/** Carries a run as far as it is to be recorded: to an end of its kind, or to where it waits. */
type Run = (stage: Stage) => Promise<{ readonly workflowId: string; readonly runId?: string }>;

const BOB = 'bob@example.com';
const WRITER = 'worker-0';
let uses = 0;

/** By workflow, and what is special about the run. Together they pass every patch and every branch that calls something. */
export const RUNS: Readonly<Record<string, Run>> = {
  'executeWpk-succeeded': async ({ connector }) => ended(connector, await approved(connector)),
  'executeWpk-decided-by-update': async ({ connector }) => {
    const one = await planned(connector);
    await connector.client.approve(one.wpkId, { approver: BOB, planDigest: one.planDigest });
    return ended(connector, one);
  },
  'executeWpk-signed-vote': async ({ connector }) => {
    const one = await planned(connector);
    const key = ['--as', BOB, '--key', connector.prepared.approverKeyPath, '--plan', one.planDigest];
    const { code, stderr } = await connector.byoc('approve', one.wpkId, ...key);
    if (code !== 0) throw new Error(stderr);
    return ended(connector, one);
  },
  'executeWpk-denied': async ({ connector }) =>
    ended(connector, await connector.client.submit(sign(connector.wpk(), generateKeyPair().privateKeyPem))),
  'executeWpk-rejected': async ({ connector }) => {
    const one = await planned(connector);
    await connector.client.reject(one.wpkId, { approver: BOB, reason: 'not now' });
    return ended(connector, one);
  },
  'executeWpk-expired': ({ connector }) =>
    under(connector, `approvals: { acceptAsserted: true, timeoutSeconds: 2 }`, async () =>
      ended(connector, await planned(connector)),
    ),
  'executeWpk-replanned': async ({ connector }) => {
    const name = another();
    const one = await planned(connector, { steps: [applyStep(configMap(name, connector.namespace, { a: 'b' }))] });
    await connector.kubectl('create', 'configmap', name, '-n', connector.namespace, '--from-literal=size=large');
    await approve(connector, one);
    await approve(connector, { ...one, planDigest: (await connector.untilReplanned(one)).planDigest });
    return ended(connector, one);
  },
  'executeWpk-policy-changed': async ({ connector }) => {
    const one = await planned(connector);
    await connector.untilListed(one.wpkId);
    return under(connector, 'approvals: { acceptAsserted: true, low: 1, timeoutSeconds: 600 }', async () => {
      await approve(connector, { ...one, planDigest: (await connector.untilReplanned(one)).planDigest });
      return ended(connector, one);
    });
  },
  'executeWpk-window-opened': ({ connector }) => {
    const at = (seconds: number) => new Date(Date.now() + seconds * 1_000).toISOString().slice(0, 19);
    const window = `{ name: soon, effect: allow, timeZone: UTC, start: '${at(15)}', end: '${at(3_600)}' }`;
    return under(connector, `approvals: { acceptAsserted: true }\nwindows: [${window}]`, async () =>
      ended(connector, await approved(connector)),
    );
  },
  'executeWpk-unknown-signal': async ({ connector }) => {
    const one = await planned(connector);
    await connector.signal(one.workflowId, 'aprove', { approver: BOB });
    await until('it to be recorded', async () => (await connector.client.get(one.wpkId)).votes.length > 0);
    await approve(connector, one);
    return ended(connector, one);
  },
  'executeWpk-failed': async ({ connector }) => ended(connector, await failing(connector, 'halt')),
  'executeWpk-rolled-back': async ({ connector }) => ended(connector, await failing(connector, 'rollback')),
  'executeWpk-stopped': async ({ connector }) => {
    const one = await executing(connector);
    await connector.client.stop(one.wpkId, { by: BOB, reason: 'it was a mistake' });
    return ended(connector, one);
  },
  'executeWpk-stopped-between-attempts': async ({ connector }) => {
    await connector.byoc('stop', '--all', '--reason', 'between attempts');
    try {
      for (let earlyMs = 12; ; earlyMs = (earlyMs + 3) % 15) {
        const one = await approved(connector);
        await connector.stopAtNextAttempt(one, earlyMs);
        const { events } = await connector.client.client.workflow.getHandle(one.workflowId).fetchHistory();
        // Most often the activity is called off before it is given out, and nothing is special.
        if (events?.some(({ activityTaskFailedEventAttributes }) => activityTaskFailedEventAttributes)) return one;
      }
    } finally {
      await connector.byoc('resume', '--reason', 'over');
    }
  },
  'executeWpk-in-flight-waiting': ({ connector }) => planned(connector),
  'executeWpk-in-flight-executing': ({ connector }) => executing(connector),
  'executeWpk-in-flight-retrying': async ({ connector, stack }) => {
    await stack.kill('kube-apiserver');
    try {
      const one = await connector.submit();
      await until('a second attempt', async () => (await connector.client.get(one.wpkId)).waiting);
      return one;
    } finally {
      await stack.restart('kube-apiserver');
    }
  },
  'rollbackWpk-succeeded': async ({ connector }) => {
    const one = await failing(connector, 'halt');
    await connector.client.result(one.wpkId);
    await connector.client.rollback(one.wpkId, { by: BOB });
    return { workflowId: `rollback/${connector.clusterId}/${one.wpkId}` };
  },
  'registration-registered': ({ connector }) => scheduled(connector, 'registration'),
  'heartbeat-beaten': ({ connector }) => scheduled(connector, 'heartbeat'),
  'heartbeat-registered-anew': async ({ connector, stack }) => {
    await order(stack.controlPlane, connector.clusterId, 'forget');
    return scheduled(connector, 'heartbeat');
  },
  'heartbeat-unanswered': async ({ connector, stack }) => {
    await stack.kill('control-plane');
    const run = await scheduled(connector, 'heartbeat');
    await stack.restart('control-plane');
    return run;
  },
  'metrics-sent': ({ connector }) => scheduled(connector, 'metrics', WRITER),
  'metrics-unread': async ({ connector, stack }) => {
    await stack.kill('prometheus');
    const run = await scheduled(connector, 'metrics', WRITER);
    await stack.restart('prometheus');
    return run;
  },
  'auditUpload-uploaded': ({ connector }) => scheduled(connector, 'audit-upload', WRITER),
  'auditRetention-tidied': ({ connector }) => scheduled(connector, 'audit-retention', WRITER),
  'auditRead-recorded': async ({ connector }) => {
    // Not by `byoc`, which would tell where on this machine it read.
    const source = 's3://acme-audit/byoc/prod-eu-1';
    await connector.client.recordAuditRead({ reader: BOB, command: 'tail', source, filter: '{}' });
    return newest(connector, 'auditRead');
  },
  'payloadRead-recorded': async ({ connector }) => {
    await connector.client.recordPayloadRead({ reader: BOB, namespace: 'default' });
    return newest(connector, 'payloadRead');
  },
  'relayAlert-delivered': async ({ connector }) => {
    const folder = join(connector.prepared.folder, 'relaying');
    const BYOC_POLICY = await connector.save('broken.yaml', 'nonsense: true\n'); // of which it has an alert to bring
    const own = { BYOC_ROLES: 'execution', BYOC_WRITER: 'relaying', BYOC_DATA_DIR: join(folder, 'data'), BYOC_POLICY };
    const worker = await startWorker({ ...connector.prepared, folder, env: { ...connector.prepared.env, ...own } });
    try {
      return await newest(connector, 'relayAlert');
    } finally {
      await worker.stop();
    }
  },
  'reconcile-looked': ({ connector }) => scheduled(connector, 'reconcile'),
};

function another(): string {
  return `recorded-${(uses += 1)}`;
}

function planned(connector: TestConnector, options: WpkOptions = {}): Promise<WaitingPackage> {
  const steps = [applyStep(configMap(another(), connector.namespace, { colour: 'blue' }))];
  return connector.submitAndPlan({ steps, ...options });
}

async function approve(connector: TestConnector, { workflowId, planDigest }: WaitingPackage): Promise<void> {
  await connector.signal(workflowId, 'approve', { approver: BOB, planDigest });
}

async function approved(connector: TestConnector, options: WpkOptions = {}): Promise<WaitingPackage> {
  const one = await planned(connector, options);
  await approve(connector, one);
  return one;
}

/** Writes something and then waits in vain. */
function failing(connector: TestConnector, onFailure: 'halt' | 'rollback'): Promise<WaitingPackage> {
  const { namespace } = connector;
  const target = { kind: 'ConfigMap', name: 'nobody-makes-it', namespace };
  const never: Step = { id: 'never', action: 'wait', target, for: 'ready', timeoutSeconds: 1 };
  return approved(connector, { steps: [applyStep(configMap(another(), namespace, {})), never], onFailure });
}

async function executing(connector: TestConnector): Promise<WaitingPackage> {
  const one = await approved(connector, { steps: [neverReady(another(), connector.namespace)] });
  await until('the step to wait', async () => (await connector.client.get(one.wpkId)).progress?.waitingFor);
  return one;
}

async function ended(connector: TestConnector, { wpkId }: { readonly wpkId: string }) {
  await connector.client.result(wpkId);
  return { workflowId: workflowIdOf(connector.clusterId, wpkId) };
}

async function under<T>(connector: TestConnector, policy: string, run: () => Promise<T>): Promise<T> {
  await connector.setPolicy(`apiVersion: neuralops.io/v1\nkind: Policy\n${policy}\n`);
  try {
    return await run();
  } finally {
    await connector.setPolicy(trustingPolicy());
  }
}

/** Lets a schedule run once more, and resolves when that run has ended, however it did. */
async function scheduled(connector: TestConnector, name: string, writer?: string) {
  const handle = connector.client.client.schedule.getHandle(scheduleIdOf(connector.clusterId, name, writer));
  const runs = async () =>
    (await handle.describe()).info.recentActions.flatMap(({ action }) =>
      action.type === 'startWorkflow'
        ? [{ workflowId: action.workflow.workflowId, runId: action.workflow.firstExecutionRunId }]
        : [],
    );
  const before = new Set((await runs()).map(({ runId }) => runId));
  const run = await until(
    `a run of ${name}`,
    async () => {
      await handle.trigger(); // skipped where one goes on
      await sleep(500);
      return (await runs()).find(({ runId }) => !before.has(runId));
    },
    60_000,
  );
  await connector.client.client.workflow
    .getHandle(run.workflowId, run.runId)
    .result()
    .catch(() => undefined);
  return run;
}

function newest(connector: TestConnector, workflowType: string) {
  return until(`a run of ${workflowType}`, async () => {
    const query = `WorkflowType = '${workflowType}' AND ExecutionStatus = 'Completed'`;
    for await (const { workflowId, runId } of connector.client.client.workflow.list({ query })) {
      return { workflowId, runId };
    }
    return undefined;
  });
}
