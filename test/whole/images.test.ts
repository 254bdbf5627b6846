import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Step } from '../../domain/wpk.ts';
import { TestConnector } from '../support/connector.ts';
import { deployment } from '../support/kubernetes.ts';

const OWN = 'registry.example/app:1';
const NEWER = 'registry.example/app:2';
const FOREIGN = 'evil.example/miner:1';
const POLICY = `apiVersion: neuralops.io/v1
kind: Policy
allow: { images: [registry.example] }
approvals: { acceptAsserted: true }
`;

/** R37: the list of images holds for what would run, whatever way it is put together. */
describe('a policy that allows images of one registry only', () => {
  let connector: TestConnector;
  beforeAll(async () => {
    connector = await TestConnector.start({ policy: POLICY });
    // Somebody else has put the name of the foreign image where nothing runs it.
    const web = deployment(connector.namespace, 'web');
    const annotated = { ...web, metadata: { ...web.metadata, annotations: { wanted: FOREIGN, own: NEWER } } };
    const file = await connector.save('web.json', JSON.stringify(annotated));
    await connector.kubectl('apply', '-f', file);
  });
  afterAll(() => connector.stop());

  const image = async () =>
    (await connector.kubectl('get', 'deployment', 'web', '-n', connector.namespace, '-o', 'jsonpath={..image}')).trim();
  const patch = (operation: Extract<Extract<Step, { action: 'patch' }>['patch'], { type: 'json' }>['operations'][0]) =>
    connector.submit({
      steps: [
        {
          id: 'patch',
          action: 'patch',
          target: { kind: 'Deployment', name: 'web', namespace: connector.namespace },
          patch: { type: 'json', operations: [operation] },
        },
      ],
    });
  const path = '/spec/template/spec/containers/0/image';

  it.each([
    ['copies it from an annotation', { op: 'copy', from: '/metadata/annotations/wanted', path }],
    ['moves it from an annotation', { op: 'move', from: '/metadata/annotations/wanted', path }],
    ['says it', { op: 'replace', path, value: FOREIGN }],
  ] as const)('denies a patch that %s', async (_, operation) => {
    const one = await patch(operation);
    expect(await connector.client.result(one.wpkId)).toMatchObject({
      phase: 'denied',
      error: {
        code: 'POLICY_DENIED',
        message: expect.stringContaining(`the image ${FOREIGN} is from no allowed registry`),
      },
    });
    expect(await image()).toBe(OWN);
    expect(await connector.audit({ workflowId: one.workflowId })).toContainEqual(
      expect.objectContaining({ type: 'call.refused', detail: expect.objectContaining({ code: 'POLICY_DENIED' }) }),
    );
  });

  it('plans the same patch where the image is of that registry', async () => {
    const one = await connector.untilWaiting(await patch({ op: 'copy', from: '/metadata/annotations/own', path }));
    const plan = await connector.client.plan(one.wpkId);
    expect(plan?.objects[0]?.changes).toContainEqual(expect.objectContaining({ path, before: OWN, after: NEWER }));
    await connector.client.stop(one.wpkId);
  });
});
