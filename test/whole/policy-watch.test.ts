import { rename, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { checkPolicy } from '../../activities/policy/load-policy.ts';
import { sha256 } from '../../client/sha256.ts';
import { policyDigest } from '../../domain/policy.ts';
import { TestConnector } from '../support/connector.ts';
import { policyText } from '../support/policies.ts';
import { until } from '../support/until.ts';

const text = (low: number) => policyText(`approvals: { acceptAsserted: true, low: ${low} }`);

// R9, R32, R37: the policy changes while the worker runs.
describe('while a worker runs, its policy', () => {
  let connector: TestConnector;
  beforeAll(async () => {
    // What is read is this very text; the chart writes one of its own.
    connector = await TestConnector.start({ clothes: 'development', policy: text(1) });
  });
  afterAll(() => connector.stop());

  /** Puts another file in its place, as people should. */
  async function replace(policy: string): Promise<void> {
    await writeFile(`${connector.prepared.policyPath}.new`, policy);
    await rename(`${connector.prepared.policyPath}.new`, connector.prepared.policyPath);
  }
  const entries = async (type: string) => (await connector.audit()).filter((entry) => entry.type === type);
  const digestOf = (policy: string) => {
    const checked = checkPolicy(policy);
    return checked.policy && policyDigest(sha256, checked.policy);
  };

  it('is recorded at the start', async () => {
    expect(await entries('policy.loaded')).toMatchObject([
      { outcome: 'succeeded', actor: { proof: 'system' }, detail: { policyDigest: digestOf(text(1)) } },
    ]);
  });

  it('is recorded when it changes, and told to a package that waits', async () => {
    const { workflowId, wpkId } = await connector.submitAndPlan();
    await connector.untilListed(wpkId);
    await replace(text(2));
    const signals = await until('the signal', async () => {
      const { events } = await connector.client.client.workflow.getHandle(workflowId).fetchHistory();
      const names = events?.flatMap((event) => event.workflowExecutionSignaledEventAttributes?.signalName ?? []);
      return names?.length ? names : undefined;
    });
    expect(signals).toEqual(['policyChanged']);
    expect((await entries('policy.loaded')).map(({ detail }) => detail)).toEqual([
      { policyDigest: digestOf(text(1)) },
      { policyDigest: digestOf(text(2)) },
    ]);
  });

  it('raises an alert when it breaks, once, and stops new packages until it is repaired', async () => {
    const bad = `${text(2)}oops: 1\n`;
    await replace(bad);
    const alerts = () => connector.log().then((lines) => lines.filter(({ alert }) => alert === 'policy-broken'));
    await until('the alert', async () => (await alerts()).length > 0);
    expect(await entries('policy.broken')).toMatchObject([
      { outcome: 'failed', detail: { code: 'POLICY_INVALID', detail: 'Unknown field "oops".', line: 4, column: 1 } },
    ]);
    const { wpkId } = await connector.submit();
    expect(await connector.client.result(wpkId)).toMatchObject({ phase: 'denied', error: { code: 'POLICY_INVALID' } });

    await replace(text(2));
    await until('the repaired policy', async () => (await entries('policy.loaded')).length === 3);
    await connector.submitAndPlan();
    expect(await alerts()).toMatchObject([{ file: connector.prepared.policyPath }]);
  });
});
