/**
 * `node test/support/record-histories.ts VERSION`: records real runs of `executeWpk` in test/histories.
 * Histories of released versions are never recorded again: runs that began under them must go on under every later one.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import protos from '@temporalio/proto';
import { generateKeyPair } from '../../client/sign.ts';
import { startStack } from '../../dev/stack.ts';
import { TestConnector } from './connector.ts';
import { applyStep, configMap, sign } from './packages.ts';
import { SHARED_STACK } from './stack.ts';

const { History } = protos.temporal.api.history.v1;
const BOB = 'bob@example.com';
const [version = 'v1'] = process.argv.slice(2);

/** Each carries a package to an end of its kind and resolves to the package's id. */
const RUNS: Record<string, (connector: TestConnector) => Promise<string>> = {
  async succeeded(connector) {
    const one = await connector.submitAndPlan();
    await connector.signal(one.workflowId, 'approve', { approver: BOB, planDigest: one.planDigest });
    return one.wpkId;
  },
  async denied(connector) {
    return (await connector.client.submit(sign(connector.wpk(), generateKeyPair().privateKeyPem))).wpkId;
  },
  async rejected(connector) {
    const one = await connector.submitAndPlan();
    await connector.client.reject(one.wpkId, { approver: BOB, reason: 'not now' });
    return one.wpkId;
  },
  async replanned(connector) {
    const one = await connector.submitAndPlan({
      steps: [applyStep(configMap('replanned', connector.namespace, { colour: 'blue' }))],
    });
    await connector.kubectl('create', 'configmap', 'replanned', '-n', connector.namespace, '--from-literal=size=large');
    await connector.signal(one.workflowId, 'approve', { approver: BOB, planDigest: one.planDigest });
    const { planDigest } = await connector.untilReplanned(one);
    await connector.client.approve(one.wpkId, { approver: BOB, planDigest });
    return one.wpkId;
  },
  async stopped(connector) {
    const { wpkId } = await connector.submitAndPlan();
    await connector.client.stop(wpkId);
    return wpkId;
  },
};

const folder = await mkdtemp(join(tmpdir(), 'byoc-histories-'));
const stateDir = join(folder, 'stack');
const stack = await startStack({ stateDir, env: process.env });
process.env[SHARED_STACK] = stateDir;
try {
  const connector = await TestConnector.start({ services: stack });
  for (const [name, run] of Object.entries(RUNS)) {
    const wpkId = await run(connector);
    const { phase } = await connector.client.result(wpkId);
    const { workflowId } = await connector.client.get(wpkId);
    const history = await connector.client.client.workflow.getHandle(workflowId).fetchHistory();
    const asObject = History.toObject(History.fromObject(history), { longs: String, enums: String, bytes: String });
    // Workers and sticky queues are named after machine and process, which are nobody's business.
    const text = JSON.stringify({ workflowId, history: asObject }, undefined, 1)
      .replaceAll(hostname(), 'worker')
      .replaceAll(/\d+@worker/g, '1@worker');
    await writeFile(join(import.meta.dirname, `../histories/executeWpk-${version}-${name}.json`), `${text}\n`);
    process.stdout.write(`${name}: ${phase}\n`);
  }
  await connector.stop();
} finally {
  await stack.stop();
  await rm(folder, { recursive: true, force: true });
}
