import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { KubeApi } from '../../activities/kubernetes/kube-api.ts';
import { TestConnector } from '../support/connector.ts';
import { effectsOf, ONCE, prepareTarget, stepsOnce } from '../support/exactly-once.ts';
import { adminApi } from '../support/kubernetes-admin.ts';
import { SlowNetwork } from '../support/slow-network.ts';
import { sharedServices } from '../support/stack.ts';

/** How often the worker is killed; `BYOC_KILLS=50 npm test -- whole/kills` for more than a normal run has time for. */
const KILLS = Number(process.env['BYOC_KILLS'] ?? 8);
/** Packages under way at a time: a kill hits each at another instant. */
const LANES = 4;
/** Within this time after a worker is ready it is killed again. A dead one's activities come to the next after 5 s. */
const LIVES_MS = 7_000;
const HELD_MS = 1_500;
const RECOVERY_MS = 120_000;

let network: SlowNetwork;
let connector: TestConnector;
let api: KubeApi;
let ns: string;

beforeAll(async () => {
  const { kubernetes } = await sharedServices();
  network = await SlowNetwork.start(kubernetes);
  connector = await TestConnector.start({ through: network });
  ns = connector.namespace;
  api = adminApi(kubernetes.kubeconfig);
}, 60_000);
afterAll(async () => {
  await api.close();
  await connector.stop();
  await network.stop();
});

describe(`a worker that is killed by SIGKILL ${KILLS} times at random instants`, () => {
  it(
    'has done everything once in the end, and lost no package',
    async () => {
      let isOver = false;
      const finished: string[] = [];
      const lane = async (index: number): Promise<void> => {
        for (let round = 0; !isOver; round++) {
          const name = `p${index}x${round}`;
          await prepareTarget(api, ns, name);
          const one = await connector.submit({ steps: stepsOnce(ns, name) });
          const { planDigest } = await connector.untilWaiting(one, RECOVERY_MS);
          await connector.signalApproval(one.workflowId, { approver: 'bob@example.com', planDigest });
          const result = await connector.client.result(one.wpkId);
          expect({ name, phase: result.phase, error: result.error }).toEqual({ name, phase: 'succeeded' });
          expect({ name, ...(await effectsOf(api, ns, name)) }).toEqual({ name, ...ONCE });
          const ends = (await connector.audit({ workflowId: one.workflowId })).filter(
            ({ type }) => type === 'package.succeeded',
          );
          expect(ends).toHaveLength(1);
          finished.push(name);
        }
      };
      const lanes = Promise.all(Array.from({ length: LANES }, (_, index) => lane(index)));
      lanes.catch(() => (isOver = true)); // thrown below; the kills may end
      for (let kill = 0; kill < KILLS && !isOver; kill++) {
        await sleep(Math.random() * LIVES_MS); // any instant will do: that is the test
        const isHeld = kill % 2 === 1;
        if (isHeld) {
          await network.holdAnswers(HELD_MS);
          await sleep(Math.random() * HELD_MS);
        }
        await connector.killWorker();
        if (isHeld) await network.letAnswersThrough();
        await connector.startWorker();
      }
      isOver = true;
      await lanes;
      expect(finished.length).toBeGreaterThanOrEqual(LANES);
      expect(await connector.byoc('audit', 'verify', connector.prepared.auditDir)).toMatchObject({ code: 0 });
    },
    60_000 + KILLS * 30_000,
  );
});
