import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { parse, stringify } from 'yaml';
import type { Step } from '../../domain/wpk.ts';
import type { WaitingPackage } from '../support/connector.ts';
import { TestConnector } from '../support/connector.ts';
import { neverReady } from '../support/kubernetes.ts';
import { applyStep, configMap } from '../support/packages.ts';
import { until } from '../support/until.ts';

const BOB = 'bob@example.com';

describe('when the cluster is frozen', () => {
  let connector: TestConnector;
  let uses = 0;
  const anotherName = () => `frozen-${(uses += 1)}`;

  beforeAll(async () => {
    connector = await TestConnector.start();
  });
  afterAll(() => connector.stop());

  const state = () => ['-n', connector.stateNamespace];
  const freezeName = () => `byoc-freeze-${connector.clusterId}`;
  const settings = (name: string) => applyStep(configMap(name, connector.namespace, { colour: 'blue' }));
  const approve = ({ workflowId, planDigest }: WaitingPackage) =>
    connector.signalApproval(workflowId, { approver: BOB, planDigest });
  const patchFreeze = (data: object) =>
    connector.kubectl('patch', 'configmap', freezeName(), ...state(), '--type=merge', '-p', JSON.stringify({ data }));
  const stopAll = (reason: string) => connector.byoc('stop', '--all', '--reason', reason, '--as', BOB, '-o', 'json');
  const resume = (reason = 'over') => connector.byoc('resume', '--reason', reason, '--as', BOB);
  const freezeEvents = async () =>
    (await connector.audit())
      .filter(({ type }) => type.startsWith('freeze.'))
      .map(({ type, actor, detail }) => ({ type, by: actor.id, proof: actor.proof, reason: detail['reason'] }));
  const untilFreezeEvents = (count: number) =>
    until('the change of the freeze in the audit log', async () => {
      const events = await freezeEvents();
      return events.length >= count && events;
    });

  /** A step that waits for ever, and one that would come after it. */
  const endless = (name: string): Step[] => [
    neverReady(name, connector.namespace),
    { ...settings(`${name}-later`), id: 'later' },
  ];
  async function executing(): Promise<WaitingPackage & { readonly name: string }> {
    const name = anotherName();
    const one = await connector.submitAndPlan({ steps: endless(name) });
    await approve(one);
    await until('the step to wait', async () => (await connector.client.get(one.wpkId)).progress?.waitingFor);
    return { ...one, name };
  }

  it('stops what is executed, leaves what waits for people, and says so', async () => {
    const running = await executing();
    const waiting = await connector.submitAndPlan({ steps: [settings(anotherName())] });
    const { code, stdout } = await stopAll('checkout is down');
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toEqual({
      frozen: true,
      executors: [{ holder: 'worker-0', fate: 'acknowledged', writesInFlight: 0 }],
      cancelled: expect.any(Array), // the executor may have halted it before Temporal was asked
      errors: [],
    });
    expect(await connector.client.result(running.wpkId)).toMatchObject({ phase: 'stopped' });
    expect(await connector.read('deployment', running.name)).toBeDefined();
    expect(await connector.dataOf(`${running.name}-later`)).toBeUndefined();
    expect(await connector.client.get(waiting.wpkId)).toMatchObject({ phase: 'awaiting-approval' });
    expect(await untilFreezeEvents(1)).toEqual([
      { type: 'freeze.set', by: BOB, proof: 'asserted', reason: 'checkout is down' },
    ]);
    await connector.client.stop(waiting.wpkId);
  });

  it('once more, leaves who froze it and why as they are', async () => {
    const again = ['stop', '--all', '--reason', 'me too', '--as', 'carol@example.com'];
    expect(await connector.byoc(...again)).toMatchObject({
      ...{ code: 0, stderr: expect.stringContaining(`It was frozen already by ${BOB}: checkout is down.`) },
    });
    const frozen = await connector.kubectl('get', 'configmap', freezeName(), ...state(), '-o', 'jsonpath={.data}');
    expect(JSON.parse(frozen)).toEqual({ frozen: 'true', reason: 'checkout is down', by: BOB });
  });

  it('ends as stopped what waits for its end, also where the stop comes at the moment of another attempt', async () => {
    for (const earlyMs of [12, 9, 6, 3, 0]) {
      const one = await connector.submitAndPlan({ steps: [settings(anotherName())] });
      await approve(one);
      await connector.stopAtNextAttempt(one, earlyMs);
      expect(await connector.client.result(one.wpkId)).toMatchObject({ phase: 'stopped' });
    }
  }, 90_000);

  it('lets what is approved meanwhile wait, says what for, and goes on once it is lifted', async () => {
    const name = anotherName();
    const one = await connector.submitAndPlan({ steps: [settings(name)] });
    await approve(one);
    const { waiting } = await until('a second attempt', async () => {
      const view = await connector.client.get(one.wpkId);
      return view.waiting && view;
    });
    expect(waiting?.failure).toMatch(/^FROZEN: .* by bob@example.com: checkout is down\.$/);
    expect((await connector.byoc('list')).stdout).toContain('executing (frozen)');
    expect(await connector.dataOf(name)).toBeUndefined();
    expect(await resume('it is up again')).toMatchObject({
      ...{ code: 0, stdout: 'resumed\n', stderr: expect.stringContaining('those that were stopped stay stopped') },
    });
    expect(await connector.client.result(one.wpkId)).toMatchObject({ phase: 'succeeded' });
    expect(await connector.dataOf(name)).toEqual({ colour: 'blue' });
    expect((await untilFreezeEvents(2)).at(-1)).toEqual({
      ...{ type: 'freeze.lifted', by: BOB, proof: 'asserted', reason: 'it is up again' },
    });
    expect(await resume()).toMatchObject({ code: 0, stdout: 'It was not frozen.\n' });
  });

  it('by kubectl, halts what is executed just as well, and names the client that did it', async () => {
    const running = await executing();
    const before = (await freezeEvents()).length;
    await patchFreeze({ frozen: 'true', reason: 'by hand' });
    expect(await connector.client.result(running.wpkId)).toMatchObject({
      phase: 'stopped',
      report: { steps: [{ outcome: 'partial' }] },
    });
    expect(await connector.dataOf(`${running.name}-later`)).toBeUndefined();
    expect((await untilFreezeEvents(before + 1)).at(-1)).toMatchObject({
      ...{ type: 'freeze.set', by: 'kubectl-patch', proof: 'asserted', reason: 'by hand' },
    });
    await resume();
    await untilFreezeEvents(before + 2);
  });

  it('not, because there is no kubeconfig, Temporal stops what is executed all the same, and the exit code tells', async () => {
    const running = await executing();
    const command = `KUBECONFIG=/nope ${process.execPath} client/cli/main.ts stop --all --reason x`;
    expect(await connector.shell(command)).toEqual({
      code: 3,
      stdout: `Kubernetes: NOT frozen, packages may go on\nTemporal: one package cancelled that had not halted yet\n  ${running.wpkId}\n`,
      stderr: expect.stringContaining('KUBECONFIG names /nope: it does not exist.'),
    });
    expect(await connector.client.result(running.wpkId)).toMatchObject({ phase: 'stopped' });
  });

  it.each([
    ['a value that is none', () => patchFreeze({ frozen: 'no' })],
    ['no value', () => patchFreeze({ frozen: null })],
    ['no object', () => connector.kubectl('delete', 'configmap', freezeName(), ...state())],
  ])('by %s, nothing is written', async (_, freeze) => {
    const name = anotherName();
    const one = await connector.submitAndPlan({ steps: [settings(name)] });
    const before = (await freezeEvents()).length;
    await freeze();
    await approve(one);
    const { waiting } = await until('a second attempt', async () => {
      const view = await connector.client.get(one.wpkId);
      return view.waiting && view;
    });
    expect(waiting?.failure).toContain('FROZEN');
    expect(await connector.dataOf(name)).toBeUndefined();
    await resume();
    expect(await connector.client.result(one.wpkId)).toMatchObject({ phase: 'succeeded' });
    expect((await untilFreezeEvents(before + 2)).slice(-2).map(({ type }) => type)).toEqual([
      ...['freeze.set', 'freeze.lifted'],
    ]);
  });

  it('stays frozen when the worker is replaced, also where the object was taken away', async () => {
    const name = anotherName();
    const one = await connector.submitAndPlan({ steps: [settings(name)] });
    const before = (await freezeEvents()).length;
    await connector.stopWorker();
    await connector.kubectl('delete', 'configmap', freezeName(), ...state());
    await connector.startWorker();
    await approve(one);
    await until('a second attempt', async () => (await connector.client.get(one.wpkId)).waiting);
    expect(await connector.dataOf(name)).toBeUndefined();
    expect(await connector.log()).toContainEqual(expect.objectContaining({ alert: 'frozen', how: 'missing' }));
    expect((await untilFreezeEvents(before + 1)).at(-1)).toMatchObject({ type: 'freeze.set', by: 'unknown' });
    await resume();
    expect(await connector.client.result(one.wpkId)).toMatchObject({ phase: 'succeeded' });
  }, 90_000);

  it('refuses new packages where the policy wants that', async () => {
    await connector.setPolicy('apiVersion: neuralops.io/v1\nkind: Policy\nonFreeze: deny\n');
    await patchFreeze({ frozen: 'true' });
    await sleep(500); // the watch brings it at once
    const { wpkId } = await connector.submit({ steps: [settings(anotherName())] });
    expect(await connector.client.result(wpkId)).toMatchObject({ phase: 'denied', error: { code: 'FREEZE_DENIES' } });
    await resume();
  });

  it('under an id that no connector has there, the command says so, and lifts nothing under one', async () => {
    const id = `mistyped-${connector.clusterId}`;
    const stopped = await connector.byoc('stop', '--all', '--reason', 'x', '--cluster', id);
    expect(stopped).toMatchObject({
      ...{ code: 2, stdout: expect.stringContaining('NOBODY looks at') },
      stderr: expect.stringContaining('No connector ever ran in this Kubernetes cluster as'),
    });
    const [, undo = ''] = /goes with: kubectl (.*)$/m.exec(stopped.stderr) ?? [];
    await connector.kubectl(...undo.split(' '));
    expect(await connector.byoc('resume', '--reason', 'x', '--cluster', id)).toMatchObject({ code: 2, stdout: '' });
    const made = await connector.kubectl('get', 'configmap', `byoc-freeze-${id}`, ...state(), '--ignore-not-found');
    expect(made).toBe('');
  });

  it('by who may not see the executors, says that it is frozen, and that nobody can tell who has halted', async () => {
    const name = connector.clusterId;
    await connector.kubectl('create', 'serviceaccount', name, ...state());
    const rights = ['--verb=get,create,patch', '--resource=configmaps'];
    await connector.kubectl('create', 'role', name, ...state(), ...rights);
    const to = [`--role=${name}`, `--serviceaccount=${connector.stateNamespace}:${name}`];
    await connector.kubectl('create', 'rolebinding', name, ...state(), ...to);
    const token = (await connector.kubectl('create', 'token', name, ...state())).trim();
    const config = parse(await readFile(connector.services.kubernetes.kubeconfig, 'utf8')) as { users: object[] };
    const users = [{ ...config.users[0], user: { token } }];
    const file = await connector.save('kubeconfig-limited', stringify({ ...config, users }));
    const command = `KUBECONFIG=${file} ${process.execPath} client/cli/main.ts stop --all --reason x`;
    expect(await connector.shell(command)).toMatchObject({
      code: 3,
      stdout: expect.stringContaining('Kubernetes: frozen, until byoc resume\n  executors: KUBERNETES_FORBIDDEN'),
      stderr: expect.stringMatching(/FREEZE_UNACKNOWLEDGED.*Who is at work cannot be read.*The freeze is set/),
    });
    await resume();
  }, 60_000);

  it('leaves an audit log that verifies', async () => {
    expect(await connector.byoc('audit', 'verify', connector.prepared.auditDir)).toMatchObject({ code: 0 });
  });
});
