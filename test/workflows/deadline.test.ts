import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { WaitingPackage } from '../support/connector.ts';
import { TestConnector } from '../support/connector.ts';
import { applyStep, configMap } from '../support/packages.ts';
import { policyText } from '../support/policies.ts';

const BOB = 'bob@example.com';
const TIMEOUT_SECONDS = 3;
/** Around the end of the time, ms. */
const OFFSETS = [-400, -60, -40, -20, -10, -5, 0, 0, 0, 5, 10, 20, 40, 400];

/** No answer in time means no; a vote at that very instant is the one or the other, on all sides the same. */
describe('a vote in the instant in which the time is over', () => {
  let connector: TestConnector;
  beforeAll(async () => {
    const approvals = `{ acceptAsserted: true, timeoutSeconds: ${TIMEOUT_SECONDS} }`;
    connector = await TestConnector.start({
      policy: policyText(`approvals: ${approvals}`),
    });
  });
  afterAll(() => connector.stop());

  async function voteAt(offsetMs: number, index: number) {
    const name = `instant-${index}`;
    const one = await connector.submitAndPlan({ steps: [applyStep(configMap(name, connector.namespace, {}))] });
    const { answerBy = '' } = await connector.client.get(one.wpkId);
    await sleep(Math.max(0, Date.parse(answerBy) + offsetMs - Date.now()));
    await connector
      .signal(one.workflowId, 'approve', { approver: BOB, planDigest: one.planDigest })
      .catch(() => undefined); // the run has ended
    return { one, name };
  }

  async function traces({ wpkId, workflowId }: WaitingPackage, name: string) {
    const { phase } = await connector.client.result(wpkId);
    const { votes } = await connector.client.get(wpkId);
    const types = (await connector.audit({ workflowId })).map(({ type }) => type);
    return {
      phase,
      counted: votes.filter(({ refused }) => !refused).length,
      wasApproved: types.includes('package.approved'),
      // A vote that came too late is recorded too, perhaps after the end.
      ending: types.findLast((type) => type.startsWith('package.')),
      isWritten: (await connector.dataOf(name)) !== undefined,
    };
  }

  it('counts everywhere or nowhere', async () => {
    const sent = await Promise.all(OFFSETS.map(voteAt));
    const phases = new Set<string>();
    for (const { one, name } of sent) {
      const found = await traces(one, name);
      phases.add(found.phase);
      expect(found).toEqual(
        found.phase === 'succeeded'
          ? { phase: 'succeeded', counted: 1, wasApproved: true, ending: 'package.succeeded', isWritten: true }
          : { phase: 'expired', counted: 0, wasApproved: false, ending: 'package.expired', isWritten: false },
      );
    }
    // The first comes well before, the last well after: both ends were seen.
    expect(phases).toEqual(new Set(['succeeded', 'expired']));
  }, 60_000);
});
