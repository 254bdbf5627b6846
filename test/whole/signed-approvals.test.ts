import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { parsePublicKeys } from '../../activities/sigstore/keys.ts';
import type { TestApprover } from '../support/approvers.ts';
import { approvalBy, approver, approveWithKey, fates, rejectionBy, revoke } from '../support/approvers.ts';
import type { WaitingPackage } from '../support/connector.ts';
import { TestConnector } from '../support/connector.ts';
import { openSigner } from '../../client/signer.ts';
import { signRollback } from '../../client/vote.ts';
import type { Step } from '../../domain/wpk.ts';
import { applyStep, configMap } from '../support/packages.ts';
import { policyText } from '../support/policies.ts';
import { until } from '../support/until.ts';

const ALICE = 'alice@example.com'; // the author of every package
const BOB = 'bob@example.com';
const CAROL = 'carol@example.com';

/** R31–R33, R38: where the policy counts signed votes only, and two of them. */
describe('a package that takes signed votes', () => {
  let connector: TestConnector;
  let bob: TestApprover, carol: TestApprover, dave: TestApprover, erin: TestApprover, author: TestApprover;
  let uses = 0;

  beforeAll(async () => {
    connector = await TestConnector.start({ policy: policy('low: 2') });
    bob = await approver(connector, BOB, { groups: ['sre'] });
    carol = await approver(connector, CAROL);
    dave = await approver(connector, 'dave@example.com');
    erin = await approver(connector, 'erin@example.com', { groups: ['sre'] });
    author = await approver(connector, 'Alice@EXAMPLE.com');
  }, 120_000);
  afterAll(() => connector.stop());

  interface Waiting extends WaitingPackage {
    readonly configMap: string;
  }
  async function waiting(): Promise<Waiting> {
    const name = `settings-${(uses += 1)}`;
    const steps = [applyStep(configMap(name, connector.namespace, { colour: 'blue' }))];
    return { ...(await connector.submitAndPlan({ steps })), configMap: name };
  }
  const untilVotes = ({ wpkId }: WaitingPackage, count: number) =>
    until(`${count} votes`, async () => {
      const view = await connector.client.get(wpkId);
      return view.votes.length >= count && view;
    });
  const send = ({ workflowId }: WaitingPackage, name: 'approve' | 'reject', argument: unknown) =>
    connector.signal(workflowId, name, argument);
  async function expectStillWaiting(one: Waiting): Promise<void> {
    expect(await connector.client.get(one.wpkId)).toMatchObject({ phase: 'awaiting-approval' });
    expect(await connector.dataOf(one.configMap)).toBeUndefined();
  }
  async function expectRuns(one: Waiting, approvers: readonly string[]): Promise<void> {
    expect(await connector.client.result(one.wpkId)).toMatchObject({ phase: 'succeeded', approvers });
    expect(await connector.dataOf(one.configMap)).toEqual({ colour: 'blue' });
  }

  it('runs when two people have signed, and the audit log holds both statements', async () => {
    const one = await waiting();
    expect(await approveWithKey(connector, bob, one)).toMatchObject({ code: 0, stdout: 'approved; 1 more needed\n' });
    await expectStillWaiting(one);
    expect(await approveWithKey(connector, carol, one)).toMatchObject({ code: 0, stdout: 'approved\n' });
    await expectRuns(one, [BOB, CAROL]);
    const audited = await connector.audit({ workflowId: one.workflowId });
    expect(audited.filter(({ type }) => type === 'vote.recorded')).toMatchObject([
      { actor: { id: BOB, proof: 'verified' }, detail: { statement: { dsseEnvelope: {} }, groups: ['sre'] } },
      { actor: { id: CAROL, proof: 'verified' }, detail: { statement: { dsseEnvelope: {} } } },
    ]);
    expect(audited.find(({ type }) => type === 'package.approved')).toMatchObject({
      detail: {
        approvers: [
          { approver: BOB, proof: 'verified' },
          { approver: CAROL, proof: 'verified' },
        ],
      },
    });
  });

  it('takes them from `byoc approve --print` through `temporal workflow signal`, as the Temporal UI says', async () => {
    const one = await waiting();
    // With the payload keys, as the UI has them from the codec server.
    const run = connector.client.client.workflow.getHandle(one.workflowId);
    const { currentDetails } = await run.query<{ currentDetails: string }>('__temporal_workflow_metadata');
    expect(currentDetails).toContain('a bare signal counts for nothing here');
    const [print = '', signal = ''] = currentDetails
      .split('\n')
      .filter((line) => line.startsWith('byoc approve') || line.startsWith('temporal workflow signal'));
    for (const { identity, keyFile } of [bob, carol]) {
      const file = await connector.save('vote.json', '');
      const typed = print.replace('YOUR NAME', identity).replace('YOUR.key', keyFile).replace('vote.json', file);
      const words = typed
        .replace(/ > .*/, '')
        .replace(/^byoc /, '')
        .replaceAll("'", '')
        .split(' ');
      const printed = await connector.byoc(...words, '--plan', one.planDigest);
      expect(printed).toMatchObject({ code: 0 });
      await connector.save('vote.json', printed.stdout);
      expect(await connector.shell(signal.replace('vote.json', file))).toMatchObject({ code: 0 });
    }
    await expectRuns(one, [BOB, CAROL]);
  });

  it('tells the voter that a bare signal counts for nothing, as a yes and as a no', async () => {
    const one = await waiting();
    await send(one, 'approve', { approver: BOB, planDigest: one.planDigest });
    await send(one, 'reject', { approver: CAROL, reason: 'no' });
    expect(fates(await untilVotes(one, 2))).toEqual([
      `approve ${BOB} APPROVAL_NOT_ACCEPTED`,
      `reject ${CAROL} APPROVAL_NOT_ACCEPTED`,
    ]);
    expect(await connector.byoc('approve', one.wpkId, '--as', BOB, '--plan', one.planDigest)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('APPROVAL_NOT_ACCEPTED'),
    });
    await expectStillWaiting(one);
  });

  it('counts one person once, however often they sign', async () => {
    const one = await waiting();
    for (let times = 0; times < 3; times++) await send(one, 'approve', await approvalBy(connector, bob, one.wpkId));
    await until('the votes', async () => (await connector.audit({ workflowId: one.workflowId })).length >= 5);
    expect(await connector.client.get(one.wpkId)).toMatchObject({ approvers: [BOB], missing: 1 });
    await expectStillWaiting(one);
  });

  it('does not take one key for two people, whatever name is signed', async () => {
    const one = await waiting();
    await send(one, 'approve', await approvalBy(connector, bob, one.wpkId));
    await send(one, 'approve', await approvalBy(connector, bob, one.wpkId, { as: CAROL }));
    expect(fates(await untilVotes(one, 2))).toEqual([
      `approve ${BOB} counts`,
      `approve ${BOB} APPROVAL_STATEMENT_MISMATCH`,
    ]);
    await expectStillWaiting(one);
  });

  it('does not take its author’s vote, in whatever spelling', async () => {
    const one = await waiting();
    await send(one, 'approve', await approvalBy(connector, author, one.wpkId));
    expect(fates(await untilVotes(one, 1))).toEqual(['approve Alice@EXAMPLE.com APPROVAL_BY_AUTHOR']);
    await send(one, 'approve', await approvalBy(connector, author, one.wpkId, { as: ALICE }));
    expect((await untilVotes(one, 2)).votes[1]?.refused?.code).toBe('APPROVAL_BY_AUTHOR');
    await expectStillWaiting(one);
  });

  it('does not take an approval of another package, moved here', async () => {
    const [one, other] = [await waiting(), await waiting()];
    const moved = await approvalBy(connector, bob, other.wpkId);
    await send(one, 'approve', moved);
    await send(one, 'approve', { ...moved, planDigest: one.planDigest });
    await send(one, 'approve', moved.statement);
    const view = await untilVotes(one, 3);
    expect(fates(view)).toEqual(Array.from({ length: 3 }, () => `approve ${BOB} APPROVAL_STATEMENT_MISMATCH`));
    await expectStillWaiting(one);
  });

  it.each([
    ['run', { runId: '0198c9a4-7f7e-7a5e-a9d8-1f2e3d4c5b6a' }],
    ['cluster', { clusterUid: '6f1c7d0e-3c0f-4a44-9d55-0d3a3f6f0f10' }],
  ])('does not take an approval that was given for another %s', async (_, elsewhere) => {
    const one = await waiting();
    for (const by of [bob, carol]) {
      await send(one, 'approve', await approvalBy(connector, by, one.wpkId, { for: elsewhere }));
    }
    const view = await untilVotes(one, 2);
    expect(fates(view)).toEqual([BOB, CAROL].map((name) => `approve ${name} APPROVAL_STATEMENT_MISMATCH`));
    await expectStillWaiting(one);
  });

  it('does not take an approval whose statement was changed after it was signed', async () => {
    const one = await waiting();
    const vote = await approvalBy(connector, bob, one.wpkId);
    const { dsseEnvelope } = vote.statement as { dsseEnvelope: { payload: string } };
    const said = Buffer.from(dsseEnvelope.payload, 'base64').toString();
    const payload = Buffer.from(said.replaceAll(BOB, CAROL)).toString('base64');
    const statement = { ...(vote.statement as object), dsseEnvelope: { ...dsseEnvelope, payload } };
    await send(one, 'approve', { ...vote, approver: CAROL, statement });
    expect(fates(await untilVotes(one, 1))).toEqual([`approve ${CAROL} APPROVAL_SIGNATURE_INVALID`]);
    await expectStillWaiting(one);
  });

  it('takes the file as cosign or another DSSE tool wrote it, as the whole input of the signal', async () => {
    const one = await waiting();
    const vote = await approvalBy(connector, bob, one.wpkId);
    const { dsseEnvelope } = (await approvalBy(connector, carol, one.wpkId)).statement as { dsseEnvelope: unknown };
    await send(one, 'approve', vote.statement);
    await send(one, 'approve', dsseEnvelope);
    await expectRuns(one, [BOB, CAROL]);
  });

  it('is not revived by an old approval that is sent again after a rejection', async () => {
    const one = await waiting();
    const ago = (seconds: number) => ({ time: new Date(Date.now() - seconds * 1_000) });
    const early = await approvalBy(connector, bob, one.wpkId, ago(20));
    const later = await rejectionBy(connector, bob, one.wpkId, ago(10));
    const others = await approvalBy(connector, carol, one.wpkId);
    await connector.stopWorker(); // so that all are there when the run looks
    for (const vote of [early, others]) await send(one, 'approve', vote);
    await send(one, 'reject', later);
    await send(one, 'approve', early);
    await connector.startWorker();
    expect(await connector.client.result(one.wpkId)).toMatchObject({ phase: 'rejected' });
    expect(await connector.dataOf(one.configMap)).toBeUndefined();
  });

  it('is denied when a key is revoked between its vote and the execution', async () => {
    const one = await waiting();
    await send(one, 'approve', await approvalBy(connector, dave, one.wpkId));
    await untilVotes(one, 1);
    await revoke(connector, dave);
    await send(one, 'approve', await approvalBy(connector, bob, one.wpkId));
    expect(await connector.client.result(one.wpkId)).toMatchObject({
      phase: 'denied',
      error: { code: 'APPROVAL_MISSING' },
    });
    expect(await connector.dataOf(one.configMap)).toBeUndefined();
  });

  it('does not take an approval of a plan that another one has replaced', async () => {
    const one = await waiting();
    const [yes, second] = await Promise.all([bob, carol].map((by) => approvalBy(connector, by, one.wpkId)));
    await connector.kubectl(
      'create',
      'configmap',
      one.configMap,
      '-n',
      connector.namespace,
      '--from-literal=size=large',
    );
    await send(one, 'approve', yes);
    await send(one, 'approve', second);
    expect(fates(await connector.untilReplanned(one))).toEqual(
      [BOB, CAROL].map((name) => `approve ${name} APPROVAL_PLAN_MISMATCH`),
    );
    await send(one, 'approve', yes);
    await send(one, 'approve', second);
    await untilVotes(one, 4);
    expect(await connector.client.get(one.wpkId)).toMatchObject({ phase: 'awaiting-approval', missing: 2 });
    expect(await connector.dataOf(one.configMap)).toEqual({ size: 'large' });
    for (const by of [bob, carol]) await send(one, 'approve', await approvalBy(connector, by, one.wpkId));
    expect(await connector.client.result(one.wpkId)).toMatchObject({ phase: 'succeeded' });
  });

  it('wants somebody of the group that the policy names', async () => {
    await connector.setPolicy(policy('low: { quorum: 1, groups: [sre] }'));
    const one = await waiting();
    await send(one, 'approve', await approvalBy(connector, carol, one.wpkId));
    expect(await untilVotes(one, 1)).toMatchObject({ approvers: [CAROL], missing: 1, missingGroups: ['sre'] });
    await expectStillWaiting(one);
    await send(one, 'approve', await approvalBy(connector, bob, one.wpkId));
    await expectRuns(one, [CAROL, BOB]);
    await connector.setPolicy(policy('low: 2'));
  });

  it('is rolled back for whoever signs that, and not for whoever may merely start workflows', async () => {
    const name = `settings-${(uses += 1)}`;
    const steps: Step[] = [
      applyStep(configMap(name, connector.namespace, { colour: 'blue' })),
      {
        id: 'never',
        action: 'wait',
        target: { kind: 'ConfigMap', name: 'nobody-makes-it', namespace: connector.namespace },
        for: 'ready',
        timeoutSeconds: 1,
      },
    ];
    const one = await connector.submitAndPlan({ steps });
    const votes = await Promise.all([bob, carol].map((by) => approvalBy(connector, by, one.wpkId)));
    for (const vote of votes) await send(one, 'approve', vote);
    expect(await connector.client.result(one.wpkId)).toMatchObject({ phase: 'failed' });

    const bare = await connector.byoc('rollback', one.wpkId, '--as', BOB);
    expect(bare).toMatchObject({ code: 1, stderr: expect.stringMatching(/^byoc: APPROVAL_NOT_ACCEPTED/) });
    const [{ statement } = { statement: undefined }] = votes;
    await expect(connector.client.rollback(one.wpkId, { by: BOB, statement })).rejects.toMatchObject({
      code: 'APPROVAL_STATEMENT_MISMATCH',
    });
    expect(await connector.dataOf(name)).toEqual({ colour: 'blue' });

    // With something left, which somebody changed since, a request can't be used again by whoever has seen it.
    await connector.kubectl('patch', 'configmap', name, '-n', connector.namespace, '-p', '{"data":{"theirs":"x"}}');
    const { workflowId, runId } = await connector.client.get(one.wpkId);
    const plan = await connector.client.plan(one.wpkId);
    if (!plan) throw new Error('it has no plan');
    const by = { approver: CAROL, signer: await openSigner(carol.keyFile, {}) };
    const request = { by: CAROL, statement: await signRollback({ workflowId, runId, plan }, by) };
    expect(await connector.client.rollback(one.wpkId, request)).toMatchObject({ report: { complete: false } });
    const again = connector.client.rollback(one.wpkId, request);
    await expect(again).rejects.toMatchObject({ code: 'APPROVAL_TIME_INVALID' });
    const back = '{"data":{"theirs":null}}';
    await connector.kubectl('patch', 'configmap', name, '-n', connector.namespace, '--type', 'merge', '-p', back);

    const signed = await connector.byoc('rollback', one.wpkId, '--as', CAROL, '--key', carol.keyFile);
    expect(signed).toMatchObject({
      ...{ code: 0, stdout: expect.stringContaining(`undone ConfigMap`) },
      stderr: expect.stringMatching(new RegExp(`^Undoing ${one.wpkId}, the last step first`)),
    });
    expect(await connector.dataOf(name)).toBeUndefined();
    const audited = await connector.audit({ workflowId: `rollback/${connector.clusterId}/${one.wpkId}` });
    expect(audited.map(({ type, actor }) => [type, actor.id, actor.proof])).toEqual([
      ['call.refused', 'byoc-connector', 'system'],
      ['call.refused', 'byoc-connector', 'system'],
      ['rollback.finished', CAROL, 'verified'],
      ['call.refused', 'byoc-connector', 'system'],
      ['rollback.finished', CAROL, 'verified'],
    ]);
  }, 60_000);

  it('does not take the vote of a pinned key that Vault says belongs to somebody else, or to another group', async () => {
    const pinned = ({ entry, publicKeyPem }: TestApprover, more: string) =>
      `{ fingerprint: '${parsePublicKeys(publicKeyPem, entry)[0]?.fingerprint}', ${more} }`;
    const pins = [
      pinned(bob, `identity: ${BOB}, groups: [sre]`),
      pinned(carol, 'identity: somebody-else@example.com'),
      pinned(erin, 'groups: [payments]'),
    ];
    await connector.setPolicy(policy(`low: 1, pinnedKeys: [${pins.join(', ')}]`));
    const one = await waiting();
    for (const by of [dave, carol, erin]) await send(one, 'approve', await approvalBy(connector, by, one.wpkId));
    const view = await untilVotes(one, 3);
    expect(view.votes.map(({ refused }) => refused?.code)).toEqual(view.votes.map(() => 'APPROVAL_KEY_UNTRUSTED'));
    await expectStillWaiting(one);
    await send(one, 'approve', await approvalBy(connector, bob, one.wpkId));
    await expectRuns(one, [BOB]);
    await connector.setPolicy(policy('low: 2'));
  });
});

function policy(approvals: string): string {
  return policyText(`approvals: { acceptAsserted: false, ${approvals} }`);
}
