import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { SubmittedPackage } from '../../client/connector-client.ts';
import type { PackageView } from '../../client/package-view.ts';
import type { Stack } from '../../dev/stack.ts';
import type { Phase } from '../../domain/status.ts';
import { fates } from '../support/approvers.ts';
import { TestConnector } from '../support/connector.ts';
import { applyStep, configMap } from '../support/packages.ts';
import { ownStack } from '../support/stack.ts';
import { until } from '../support/until.ts';

const BOB = 'bob@example.com';
const CAROL = 'carol@example.com';

/** In this order: each test leaves the parts as the next one needs them, Temporal goes last. */
describe('when a part is missing', () => {
  let stack: Stack;
  let connector: TestConnector;

  beforeAll(async () => {
    stack = await ownStack(['temporal', 'vault', 's3', 'kubernetes']);
    // Where payloads are encrypted no worker begins without Vault, which holds their keys.
    connector = await TestConnector.start({ services: stack, clothes: 'development' });
  }, 120_000);
  afterAll(async () => {
    await connector.stop();
    await stack.stop();
  });

  const submit = (name: string) => connector.submit({ steps: [applyStep(configMap(name, connector.namespace, {}))] });
  const submitAndPlan = async (name: string) => connector.untilWaiting(await submit(name));

  /** What `byoc show` tells of a package that is retried for at least the second time. */
  async function shownRetrying({ wpkId }: SubmittedPackage): Promise<PackageView> {
    await until('a second attempt', async () => (await connector.client.get(wpkId)).waiting);
    const { code, stdout } = await connector.byoc('show', wpkId, '-o', 'json');
    expect(code).toBe(0);
    return JSON.parse(stdout) as PackageView;
  }
  const retrying = (phase: Phase, activity: string, code: string) => ({
    phase,
    waiting: { activity, attempt: expect.any(Number), failure: expect.stringContaining(code) },
  });

  it('the API server: says what is retried, can be stopped meanwhile, and goes on by itself', async () => {
    const executing = await submitAndPlan('executing');
    await stack.kill('kube-apiserver');
    const { workflowId, planDigest } = executing;
    await connector.signalApproval(workflowId, { approver: BOB, planDigest });
    const claiming = await submit('claiming');
    const stopped = await submit('stopped');

    expect(await shownRetrying(executing)).toMatchObject(
      retrying('executing', 'executePackage', 'KUBERNETES_UNAVAILABLE'),
    );
    expect(await shownRetrying(claiming)).toMatchObject(
      retrying('verifying', 'verifyPackage', 'KUBERNETES_UNAVAILABLE'),
    );
    await shownRetrying(stopped);
    expect(await connector.byoc('stop', stopped.wpkId)).toMatchObject({ code: 0, stdout: 'stopped\n' });

    await stack.restart('kube-apiserver');
    expect(await connector.client.result(executing.wpkId)).toMatchObject({ phase: 'succeeded' });
    expect(await connector.dataOf('executing')).toBeDefined();
    await connector.untilWaiting(claiming);
    expect(await connector.dataOf('stopped')).toBeUndefined();
  }, 120_000);

  it('the API server: what people reject before it is back never begins, and the log says that their no counts', async () => {
    const [unchanged, changed] = [await submitAndPlan('unchanged'), await submitAndPlan('changed')];
    await connector.kubectl('create', 'configmap', 'changed', '-n', connector.namespace, '--from-literal=size=large');
    await stack.kill('kube-apiserver');
    for (const { workflowId, planDigest } of [unchanged, changed]) {
      await connector.signalApproval(workflowId, { approver: BOB, planDigest });
    }
    const noTo: ((one: SubmittedPackage) => Promise<unknown>)[] = [
      async ({ wpkId }) =>
        expect(await connector.byoc('reject', wpkId, '--as', CAROL, '--reason', 'not today')).toMatchObject({
          ...{ code: 1, stderr: expect.stringMatching(/APPROVAL_CLOSED.* kept and counts.*stop \w+\n/) },
        }),
      ({ workflowId }) => connector.signalRejection(workflowId, { approver: CAROL, reason: 'not today' }),
    ];
    for (const [index, one] of [unchanged, changed].entries()) {
      await shownRetrying(one);
      await noTo[index]?.(one);
      await until('the late no', async () => (await connector.client.get(one.wpkId)).votes.length === 2);
      expect(fates(await connector.client.get(one.wpkId))[1]).toBe(`reject ${CAROL} APPROVAL_CLOSED`);
    }
    await stack.restart('kube-apiserver');

    expect(await connector.client.result(unchanged.wpkId)).toMatchObject({
      phase: 'denied',
      error: { code: 'APPROVAL_MISSING' },
    });
    expect(await connector.dataOf('unchanged')).toBeUndefined();
    // Sent back, because the cluster changed: there nobody is too late.
    expect(await connector.client.result(changed.wpkId)).toMatchObject({ phase: 'rejected' });
    expect(await connector.dataOf('changed')).toEqual({ size: 'large' });
    const noes = (await connector.audit({ workflowId: changed.workflowId })).filter(
      ({ type, actor }) => type === 'vote.recorded' && actor.id === CAROL,
    );
    expect(noes.map(({ outcome }) => outcome)).toEqual(['refused', 'succeeded']);
  }, 120_000);

  it('Vault: verifies nothing without its keys, and goes on by itself', async () => {
    await connector.killWorker();
    await stack.kill('openbao');
    await connector.startWorker(); // what it knew of the keys is gone with the old process
    const one = await submit('unverified');
    expect(await shownRetrying(one)).toMatchObject(retrying('verifying', 'verifyPackage', 'KEYS_UNAVAILABLE'));

    await stack.restart('openbao');
    await connector.untilWaiting(one);
  }, 120_000);

  it('the worker: takes packages in, and says that nobody answers', async () => {
    await connector.killWorker();
    const one = await submit('unattended');
    expect(await connector.byoc('show', one.wpkId)).toEqual({
      code: 3,
      stdout: '',
      stderr: expect.stringMatching(/WORKER_UNAVAILABLE.*\n.*worker of this cluster/),
    });
    const other = await submit('unacknowledged');
    expect(await connector.byoc('stop', other.wpkId)).toEqual({
      code: 3,
      stdout: '',
      stderr: expect.stringMatching(
        /^The stop is recorded; waiting for a worker.*\nbyoc: WORKER_UNAVAILABLE.*recorded/,
      ),
    });
    await connector.startWorker();
    await connector.untilWaiting(one);
    expect(await connector.client.result(other.wpkId)).toMatchObject({ phase: 'stopped' });
  }, 120_000);

  it('Temporal: says so, and what to do', async () => {
    await stack.kill('temporal');
    expect(await connector.byoc('list')).toEqual({
      code: 3,
      stdout: '',
      stderr: expect.stringMatching(
        /^Temporal has not answered yet\.\n.*TEMPORAL_UNAVAILABLE.*\n.*TEMPORAL_ADDRESS.*TEMPORAL_TLS_CLIENT_CERT_PATH/,
      ),
    });
  }, 60_000);
});
