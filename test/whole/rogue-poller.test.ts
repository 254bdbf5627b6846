import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { PlanResult } from '../../activities/index.ts';
import type { ExecuteInput, ExecuteOutcome } from '../../activities/package/execution.ts';
import { sha256 } from '../../client/sha256.ts';
import type { Program } from '../../dev/process.ts';
import { taskQueueOf } from '../../domain/names.ts';
import { bindingOf, planDigest } from '../../domain/plan.ts';
import type { PlanBinding } from '../../domain/plan.ts';
import type { SignedWpk, Step } from '../../domain/wpk.ts';
import type { SubmittedPackage } from '../../client/connector-client.ts';
import { TestConnector } from '../support/connector.ts';
import type { RogueAnswer, RogueCall } from '../support/foreign/rogue-workflows.ts';
import { startForeigner } from '../support/foreign/start.ts';
import { applyStep, configMap } from '../support/packages.ts';
import { policyText } from '../support/policies.ts';
import { Authorities, ISSUER } from '../support/sigstore.ts';
import { until } from '../support/until.ts';

const BOB = 'bob@example.com';
const CAROL = 'carol@example.com';
const OTHER_DIGEST = `sha256:${'0'.repeat(64)}` as const;
/** One for each test: the foreigner gets hold of runs only while our worker is away. */
const RUNS = 11;

const ENDS = new Set<string>(
  ['succeeded', 'rejected', 'expired', 'denied', 'failed', 'stopped', 'rolled-back'].map((phase) => `package.${phase}`),
);

interface RogueRun extends SubmittedPackage {
  readonly signed: SignedWpk;
  /** Of the ConfigMap that the package creates. */
  readonly name: string;
}

/** R38: code of somebody else carries the runs of genuine packages on our own queue; ours does only the activities. */
describe('somebody who polls the queue of the connector with code of their own', () => {
  let connector: TestConnector;
  let foreigner: Program;
  let keyless: RogueRun;
  const runs: RogueRun[] = [];

  beforeAll(async () => {
    const authorities = await Authorities.create();
    connector = await TestConnector.start({
      clothes: 'development', // where a stranger can read and write all that Temporal holds
      env: { BYOC_TRUSTED_ROOT: 'trusted-root.json' },
      files: { 'trusted-root.json': authorities.trustedRoot() },
    });
    await connector.stopWorker();
    foreigner = await startForeigner(connector, taskQueueOf(connector.clusterId, 'execution'), 'rogue-workflows.ts');
    const steps = (name: string) => [applyStep(configMap(name, connector.namespace, { colour: 'blue' }))];
    for (let index = 0; index < RUNS; index++) {
      const name = `wanted-${index}`;
      const wanted = index === RUNS - 1 ? [...steps(name), never()] : steps(name);
      const signed = connector.signed({ steps: wanted });
      runs.push({ ...(await connector.client.submit(signed)), signed, name });
    }
    const payload = Buffer.from(JSON.stringify(connector.wpk({ steps: steps('keyless') })));
    const bundle = await authorities.signKeyless(payload, { identity: BOB });
    const signed = { payload: payload.toString('base64'), bundle };
    keyless = { ...(await connector.client.submit(signed)), signed, name: 'keyless' };
    // From its first task on a run stays with the worker that has it in its cache.
    for (const run of [...runs, keyless]) await until('the foreigner to take the run', () => hasBegun(run));
    await connector.startWorker();
  });
  afterAll(async () => {
    await Promise.allSettled([...runs, keyless].map((run) => handleOf(run).terminate('the test is over')));
    await foreigner.kill();
    await connector.stop();
  });

  const never = (): Step => {
    const target = { kind: 'ConfigMap', name: 'nobody-makes-it', namespace: connector.namespace };
    return { id: 'never', action: 'wait', target, for: 'ready', timeoutSeconds: 1 };
  };
  const handleOf = ({ workflowId, runId }: SubmittedPackage) =>
    connector.client.client.workflow.getHandle(workflowId, runId);
  async function hasBegun(run: RogueRun): Promise<boolean> {
    const { events } = await handleOf(run).fetchHistory();
    return (events ?? []).some((event) => event.workflowTaskCompletedEventAttributes);
  }
  function anotherRun(): RogueRun {
    const run = runs[(used += 1) - 1];
    if (!run) throw new Error('RUNS is too small');
    return run;
  }
  let used = 0;

  const call = (run: RogueRun, activity: string, argument: unknown): Promise<RogueAnswer> =>
    handleOf(run).executeUpdate<RogueAnswer, [RogueCall]>('call', { args: [{ activity, argument }] });
  async function done<T>(answer: Promise<RogueAnswer>): Promise<T> {
    const settled = await answer;
    if ('refused' in settled) throw new Error(`refused with ${settled.refused}`);
    return settled.result as T; // as the activity's type says
  }

  /** Claims the package and plans it, as the genuine workflow does; resolves to what executing it takes. */
  async function planned(run: RogueRun): Promise<ExecuteInput> {
    const { signed } = run;
    await done(call(run, 'verifyPackage', { signed }));
    const { plan } = await done<PlanResult>(call(run, 'planPackage', { signed }));
    return { signed, planDigest: plan.digest, binding: bindingOf(plan) };
  }
  const approve = (run: RogueRun, approver: string, planDigest: string) =>
    connector.signalApproval(run.workflowId, { approver, planDigest });
  const reject = (run: RogueRun, approver: string) =>
    connector.signal(run.workflowId, 'reject', { approver, reason: 'not during the sale' });
  const execute = (run: RogueRun, input: unknown) => call(run, 'executePackage', input);

  async function expectRefused(run: RogueRun, input: unknown, code: string): Promise<void> {
    expect(await execute(run, input)).toEqual({ refused: code });
    const { workflowId } = run;
    const told = { activity: 'executePackage', code };
    expect(await connector.audit({ workflowId })).toContainEqual(
      expect.objectContaining({ type: 'call.refused', outcome: 'refused', detail: expect.objectContaining(told) }),
    );
    expect(await connector.log()).toContainEqual(expect.objectContaining({ alert: 'refused', workflowId, ...told }));
    await expectNothingWritten(run);
  }
  async function expectNothingWritten(run: RogueRun): Promise<void> {
    expect(await connector.dataOf(run.name)).toBeUndefined();
    const types = (await connector.audit({ workflowId: run.workflowId })).map(({ type }) => type);
    expect(types).not.toContain('package.approved');
    expect(types).not.toContain('step.started');
  }

  it('is refused the execution of a package that it did not claim', async () => {
    const run = anotherRun();
    const { plan } = await done<PlanResult>(call(run, 'planPackage', { signed: run.signed }));
    await approve(run, BOB, plan.digest);
    const input = { signed: run.signed, planDigest: plan.digest, binding: bindingOf(plan) };
    await expectRefused(run, input, 'CALLER_UNTRUSTED');
  });

  it('is refused the execution of a package that nobody approved', async () => {
    const run = anotherRun();
    await expectRefused(run, await planned(run), 'APPROVAL_MISSING');
  });

  it('is refused it with votes of invented people where the policy counts no bare signal', async () => {
    const run = anotherRun();
    await connector.setPolicy(policy('acceptAsserted: false'));
    const input = await planned(run);
    for (const approver of [BOB, CAROL, 'dave@example.com']) await approve(run, approver, input.planDigest);
    await expectRefused(run, input, 'APPROVAL_MISSING');
    await connector.setPolicy(policy('acceptAsserted: true'));
  });

  it('is refused it with the approval of whoever signed the package without a key', async () => {
    await connector.setPolicy(
      policy('acceptAsserted: true', `signing: { keyless: [{ identity: '${BOB}', issuer: '${ISSUER}' }] }`),
    );
    const input = await planned(keyless);
    await approve(keyless, BOB, input.planDigest);
    await expectRefused(keyless, input, 'APPROVAL_MISSING');
    await connector.setPolicy(policy('acceptAsserted: true'));
  });

  it.each([
    ['after the approval', ['approve', 'reject']],
    ['before the approval', ['reject', 'approve']],
  ])('is refused it where somebody rejected it %s', async (_, order) => {
    const run = anotherRun();
    const input = await planned(run);
    for (const vote of order) await (vote === 'reject' ? reject(run, CAROL) : approve(run, BOB, input.planDigest));
    await expectRefused(run, input, 'APPROVAL_MISSING');
  });

  it('is refused it with a plan that is not what its digest says', async () => {
    const run = anotherRun();
    const input = await planned(run);
    await approve(run, BOB, input.planDigest);
    await expectRefused(run, { ...input, planDigest: OTHER_DIGEST }, 'CALLER_UNTRUSTED');
    const forged: PlanBinding = { ...input.binding, objects: [OTHER_DIGEST] };
    await expectRefused(run, { ...input, binding: forged }, 'CALLER_UNTRUSTED');
    await expectRefused(run, { ...input, binding: undefined }, 'CALLER_UNTRUSTED');
  });

  it('writes nothing with a plan of its own making, though votes name its digest', async () => {
    const run = anotherRun();
    const { signed, binding } = await planned(run);
    const forged: PlanBinding = { ...binding, objects: [OTHER_DIGEST] };
    const digest = planDigest(sha256, forged);
    await approve(run, BOB, digest);
    const answer = await done<ExecuteOutcome>(execute(run, { signed, planDigest: digest, binding: forged }));
    expect(answer).toEqual({ outcome: 'plan-changed' });
    await expectNothingWritten(run);
  });

  describe('and gives a false account of how a package ended', () => {
    const tell = (run: RogueRun, phase: string) =>
      call(run, 'recordEvents', { events: [{ type: 'ended', status: { phase, approvers: [BOB], votes: [] } }] });
    const endsOf = async ({ workflowId }: RogueRun) =>
      (await connector.audit({ workflowId })).map(({ type }) => type).filter((type) => ENDS.has(type));

    it('is refused one that says more than was done, and the log tells of it', async () => {
      const run = anotherRun();
      expect(await tell(run, 'succeeded')).toEqual({ refused: 'CALLER_UNTRUSTED' });
      expect(await tell(run, 'rejected')).toEqual({ refused: 'CALLER_UNTRUSTED' }); // nobody was asked yet
      await planned(run);
      expect(await tell(run, 'succeeded')).toEqual({ refused: 'CALLER_UNTRUSTED' });
      expect(await endsOf(run)).toEqual([]);
      expect(await connector.audit({ workflowId: run.workflowId })).toContainEqual(
        expect.objectContaining({
          type: 'call.refused',
          detail: expect.objectContaining({ activity: 'recordEvents', code: 'CALLER_UNTRUSTED' }),
        }),
      );
    });

    it('is refused one that hides what was done', async () => {
      const run = anotherRun();
      const input = await planned(run);
      await approve(run, BOB, input.planDigest);
      await done(execute(run, input));
      for (const phase of ['rejected', 'expired', 'denied', 'failed', 'stopped', 'rolled-back']) {
        expect(await tell(run, phase)).toEqual({ refused: 'CALLER_UNTRUSTED' });
      }
      expect(await endsOf(run)).toEqual([]);
      await done(tell(run, 'succeeded'));
      expect(await endsOf(run)).toEqual(['package.succeeded']);
    });
  });

  it('gets nothing written a second time once the package has ended', async () => {
    const run = anotherRun();
    const input = await planned(run);
    await approve(run, BOB, input.planDigest);
    expect(await done(execute(run, input))).toMatchObject({
      outcome: 'succeeded',
      report: { steps: [{ id: 'apply' }] },
    });
    expect(await connector.dataOf(run.name)).toEqual({ colour: 'blue' });

    const red = '{"data":{"colour":"red"}}';
    await connector.kubectl('patch', 'configmap', run.name, '-n', connector.namespace, '--type=merge', '-p', red);
    expect(await done(execute(run, input))).toEqual({ outcome: 'succeeded', report: { steps: [] } });
    expect(await connector.dataOf(run.name)).toEqual({ colour: 'red' });

    await connector.kubectl('delete', 'configmap', run.name, '-n', connector.namespace);
    expect(await done(execute(run, input))).toEqual({ outcome: 'succeeded', report: { steps: [] } });
    expect(await connector.dataOf(run.name)).toBeUndefined();
  });

  it('gets nothing undone of a package that has failed and is to stay as it is', async () => {
    const run = anotherRun();
    const input = await planned(run);
    await approve(run, BOB, input.planDigest);
    expect(await execute(run, input)).toEqual({ refused: 'NOT_READY' });
    expect(await call(run, 'rollbackPackage', { signed: run.signed })).toEqual({ refused: 'CALLER_UNTRUSTED' });
    expect(await connector.dataOf(run.name)).toEqual({ colour: 'blue' });
  });
});

function policy(approvals: string, more = ''): string {
  return policyText(`approvals: { ${approvals} }\n${more}`);
}
