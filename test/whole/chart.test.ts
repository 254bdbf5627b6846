import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { stringify } from 'yaml';
import { at, listAt } from '../../activities/kubernetes/kube-object.ts';
import type { Stack } from '../../dev/stack.ts';
import { CHART, helm, valuesFile } from '../support/chart.ts';
import { everything } from '../support/cluster-objects.ts';
import { ownStack } from '../support/stack.ts';
import { filesOf, runTool } from '../support/tools.ts';
import { until } from '../support/until.ts';

// R22. The API server, its admission and its controllers are the real ones; of the nodes only what they would report is (kwok):
// no container runs here, and no network policy is enforced.

const NAMESPACE = 'byoc';
const TIMEOUT_MS = 180_000;

let stack: Stack;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'byoc-install-'));
  stack = await ownStack(['kubernetes']);
  const crds = await filesOf('prometheus-operator-crds');
  await kubectl(
    'apply',
    '--server-side',
    '-f',
    join(crds, 'servicemonitors.yaml'),
    '-f',
    join(crds, 'prometheusrules.yaml'),
  );
  await kubectl('wait', '--for=condition=Established', 'crd', '--all', '--timeout=30s');
  for (const name of ['shop', 'shop-jobs']) await kubectl('create', 'namespace', name);
  await create('Namespace', NAMESPACE, {}, { 'pod-security.kubernetes.io/enforce': 'restricted' });
  for (const name of [
    'byoc-temporal',
    'byoc-agent-tls',
    'byoc-vault-execution',
    'byoc-vault-registration',
    'byoc-vault-metrics',
  ]) {
    await create('Secret', name, {
      data: { 'tls.crt': '', 'tls.key': '', 'ca.crt': '', 'secret-id': '', 'api-key': '' },
    });
  }
}, TIMEOUT_MS);

afterAll(async () => {
  await stack.stop();
  await rm(folder, { recursive: true, force: true });
});

async function kubectl(...args: string[]): Promise<string> {
  const { kubectl: program, kubeconfig } = stack.kubernetes;
  const { code, stdout, stderr } = await runTool(program, ['--kubeconfig', kubeconfig, ...args]);
  if (code !== 0) throw new Error(`kubectl ${args.join(' ')}: ${stderr}`);
  return stdout;
}

async function create(kind: string, name: string, body: object, labels: object = {}): Promise<void> {
  const file = join(folder, `${kind}-${name}.json`);
  const namespace = kind === 'Namespace' ? {} : { namespace: NAMESPACE };
  await writeFile(file, JSON.stringify({ apiVersion: 'v1', kind, metadata: { name, labels, ...namespace }, ...body }));
  await kubectl('apply', '-f', file);
}

async function run(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await helm([...args, '--namespace', NAMESPACE], {
    env: { KUBECONFIG: stack.kubernetes.kubeconfig },
  });
  if (code !== 0) throw new Error(`helm ${args.join(' ')}: ${stderr}`);
  return stdout;
}

/** Pods of the release by role, each with the digest of the policy that it was made for. */
async function pods(): Promise<{ name: string; role: unknown; ready: boolean; policy: unknown; account: unknown }[]> {
  const list: unknown = JSON.parse(
    await kubectl('get', 'pods', '-n', NAMESPACE, '-l', 'app.kubernetes.io/instance=byoc', '-o', 'json'),
  );
  return listAt(list, 'items')
    .filter((pod) => at(pod, 'metadata', 'deletionTimestamp') === undefined)
    .map((pod) => ({
      name: String(at(pod, 'metadata', 'name')),
      role: at(pod, 'metadata', 'labels', 'app.kubernetes.io/component'),
      ready: listAt(pod, 'status', 'conditions').some(
        (one) => at(one, 'type') === 'Ready' && at(one, 'status') === 'True',
      ),
      policy: at(pod, 'metadata', 'annotations', 'checksum/policy'),
      account: at(pod, 'spec', 'serviceAccountName'),
    }));
}

describe('the chart, in a namespace that enforces pod security restricted', () => {
  let before: string[];
  let first: Awaited<ReturnType<typeof pods>>;
  const file = () => join(folder, 'policy.yaml');

  beforeAll(async () => {
    before = await everything(stack);
  });

  it('is refused by that namespace where a pod is less than restricted, so the label counts', async () => {
    const pod = 'apiVersion: v1\nkind: Pod\nmetadata: { name: plain }\nspec: { containers: [{ name: a, image: a }] }\n';
    await writeFile(join(folder, 'plain.yaml'), pod);
    await expect(kubectl('apply', '-n', NAMESPACE, '-f', join(folder, 'plain.yaml'))).rejects.toThrow(
      /violates PodSecurity "restricted/,
    );
  });

  it(
    'installs, with a pod on each node, and says what to do next',
    async () => {
      const told = await run('install', 'byoc', CHART, '--values', valuesFile('minimal'), '--wait', '--timeout', '2m');
      expect(told).toContain('kubectl -n byoc rollout status daemonset/byoc-connector-execution');
      expect(told).toContain('helm -n byoc test byoc');
      expect(told).toContain('byoc plan first.wpk.json');
      first = await pods();
      expect(first).toEqual(
        ['node-1', 'node-2'].map(() =>
          expect.objectContaining({ role: 'execution', ready: true, account: 'byoc-connector-execution' }),
        ),
      );
    },
    TIMEOUT_MS,
  );

  it(
    'passes helm test, whose Job meets restricted as well',
    async () => {
      expect(await run('test', 'byoc', '--timeout', '1m')).toMatch(/byoc-connector-test-health[\s\S]*Succeeded/);
    },
    TIMEOUT_MS,
  );

  it(
    'replaces its pods when the policy changes, one after the other',
    async () => {
      await writeFile(file(), stringify({ policy: { document: { allow: { namespaces: ['shop'] } } } }));
      await run(
        'upgrade',
        'byoc',
        CHART,
        '--values',
        valuesFile('minimal'),
        '--values',
        file(),
        '--wait',
        '--timeout',
        '2m',
      );
      await until('other pods', async () => {
        const now = await pods();
        return now.length === 2 && now.every(({ ready, policy }) => ready && policy !== first[0]?.policy);
      });
      expect(
        await kubectl('get', 'configmap', '-n', NAMESPACE, 'byoc-connector-policy', '-o', 'jsonpath={.data}'),
      ).toContain('shop');
    },
    TIMEOUT_MS,
  );

  it(
    'goes back to the policy before, on rollback',
    async () => {
      await run('rollback', 'byoc', '1', '--wait', '--timeout', '2m');
      await until('pods of the first policy', async () => {
        const now = await pods();
        return now.length === 2 && now.every(({ ready, policy }) => ready && policy === first[0]?.policy);
      });
      expect(
        await kubectl('get', 'configmap', '-n', NAMESPACE, 'byoc-connector-policy', '-o', 'jsonpath={.data}'),
      ).not.toContain('shop');
    },
    TIMEOUT_MS,
  );

  it(
    'leaves nothing when it is uninstalled, in no namespace and in none',
    async () => {
      await run('uninstall', 'byoc', '--wait', '--timeout', '2m');
      await until('what controllers clear up', async () => (await everything(stack)).join('\n') === before.join('\n'));
    },
    TIMEOUT_MS,
  );

  it(
    'installs with everything: volumes, all roles, and the monitoring that the Prometheus operator takes',
    async () => {
      for (let index = 0; index < 3; index += 1) await volume(`disk-${index}`);
      await run(
        'install',
        'byoc',
        CHART,
        '--values',
        valuesFile('full'),
        '--wait',
        '--timeout',
        '2m',
        '--values',
        await byHand(),
      );
      const now = await pods();
      expect(
        now
          .filter(({ ready }) => ready)
          .map(({ role, account }) => [role, account])
          .sort(),
      ).toEqual([
        ['codec-server', 'default'],
        ...[1, 2, 3].map(() => ['execution', 'byoc-connector-execution']),
        ['metrics', 'byoc-connector-metrics'],
        ['registration', 'byoc-connector-registration'],
      ]);
      const rules = JSON.parse(
        await kubectl('get', 'prometheusrule', '-n', NAMESPACE, 'byoc-connector', '-o', 'json'),
      ) as unknown;
      expect(listAt(rules, 'spec', 'groups')).toHaveLength(2);
      await run('uninstall', 'byoc', '--wait', '--timeout', '2m');
      // What was asked for with keepState stays: the memory of which packages were used.
      await expect(kubectl('get', 'namespace', 'byoc-system')).resolves.toContain('Active');
    },
    TIMEOUT_MS,
  );
});

/** A storage class of the test's own: the embedded cluster has nobody who makes volumes. */
async function byHand(): Promise<string> {
  const file = join(folder, 'here.yaml');
  await writeFile(file, stringify({ execution: { persistence: { storageClassName: 'by-hand' } } }));
  return file;
}

async function volume(name: string): Promise<void> {
  const spec = {
    capacity: { storage: '2Gi' },
    accessModes: ['ReadWriteOnce'],
    storageClassName: 'by-hand',
    hostPath: { path: `/none/${name}` },
  };
  const file = join(folder, `${name}.json`);
  await writeFile(file, JSON.stringify({ apiVersion: 'v1', kind: 'PersistentVolume', metadata: { name }, spec }));
  await kubectl('apply', '-f', file);
}
