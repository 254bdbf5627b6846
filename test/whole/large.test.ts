import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { WPK_MAX_BYTES } from '../../domain/wpk.ts';
import { TestConnector } from '../support/connector.ts';
import { applyStep, configMap } from '../support/packages.ts';

const OBJECTS = 1_000;
/** How much of 1 MiB the frame and the manifests take without their data. */
const DATA_BYTES = 840;

describe('a package of 1,000 objects and almost 1 MiB', () => {
  let connector: TestConnector;
  beforeAll(async () => {
    connector = await TestConnector.start();
  });
  afterAll(() => connector.stop());

  it.each<[string, (index: number) => string]>([
    ['repeats itself', (index) => `line ${index} `.repeat(100).slice(0, DATA_BYTES)],
    ['cannot be compressed', () => randomBytes((DATA_BYTES * 3) / 4).toString('base64')],
  ])(
    'is planned, shown, approved by a signal and executed when its content %s',
    async (kind, content) => {
      const label = kind.startsWith('repeats') ? 'plain' : 'random';
      const manifests = Array.from({ length: OBJECTS }, (_, index) =>
        configMap(`${label}-${index}`, connector.namespace, { text: content(index) }),
      );
      const signed = connector.signed({ steps: [applyStep(...manifests)] });
      const sizeBytes = Buffer.from(signed.payload, 'base64').length;
      expect(sizeBytes).toBeLessThanOrEqual(WPK_MAX_BYTES);
      expect(sizeBytes).toBeGreaterThan(0.9 * WPK_MAX_BYTES);

      const one = await connector.untilWaiting(await connector.client.submit(signed));
      const plan = await connector.client.plan(one.wpkId);
      expect(plan?.objects).toHaveLength(OBJECTS);
      expect(plan?.problems).toEqual([]);
      const shown = await connector.byoc('show', one.wpkId);
      expect(shown).toMatchObject({ code: 0, stdout: expect.stringContaining(one.planDigest) });

      await connector.signalApproval(one.workflowId, { approver: 'bob@example.com', planDigest: one.planDigest });
      expect(await connector.client.result(one.wpkId)).toMatchObject({ phase: 'succeeded' });
      for (const index of [0, OBJECTS - 1]) {
        expect(await connector.dataOf(`${label}-${index}`)).toEqual(manifests[index]?.data);
      }
      const names = await connector.kubectl('get', 'configmaps', '-n', connector.namespace, '-o', 'name');
      expect(names.split('\n').filter((name) => name.startsWith(`configmap/${label}-`))).toHaveLength(OBJECTS);
      expect(await connector.byoc('show', one.wpkId)).toMatchObject({
        code: 0,
        stdout: expect.stringContaining('succeeded'),
      });
    },
    120_000,
  );
});
