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
  // It fails, rather than waits, while a CRD has no conditions at all.
  await until('the CRDs', () =>
    kubectl('wait', '--for=condition=Established', 'crd', '--all', '--timeout=10s').then(
      () => true,
      () => false,
    ),
  );
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

  it(
    'takes up the state that was kept, when it is installed again',
    async () => {
      const uid = await stateUid();
      await run('install', 'byoc', CHART, '--values', valuesFile('minimal'), '--wait', '--timeout', '2m');
      expect(await stateUid()).toBe(uid);
    },
    TIMEOUT_MS,
  );

  it(
    'changes from the DaemonSet to the StatefulSet by an upgrade, has other volumes as upgrade.md tells, and goes back by a rollback',
    async () => {
      const uid = await stateUid();
      const disks = ['--set', 'execution.kind=StatefulSet,execution.persistence.whenDeleted=Delete'];
      for (let index = 3; index < 5; index += 1) await volume(`disk-${index}`);
      const files = ['--values', valuesFile('minimal'), '--values', await byHand()];
      await run('upgrade', 'byoc', CHART, ...files, ...disks, '--wait', '--timeout', '2m');
      const names = async () => (await pods()).filter(({ ready }) => ready).map(({ name }) => name);
      await until('pods of the StatefulSet alone', async () => (await names()).sort().join() === PODS.join());
      const larger = [...files, ...disks, '--set', 'execution.persistence.size=2Gi', '--wait', '--timeout', '2m'];
      await expect(run('upgrade', 'byoc', CHART, ...larger)).rejects.toThrow(/updates to statefulset spec/);
      await kubectl('delete', 'statefulset', '-n', NAMESPACE, 'byoc-connector-execution', '--cascade=orphan');
      await run('upgrade', 'byoc', CHART, ...larger);
      expect((await names()).sort()).toEqual(PODS);

      await run('rollback', 'byoc', '1', '--wait', '--timeout', '2m');
      await until('pods of the DaemonSet alone', async () => {
        const now = await names();
        return now.length === 2 && !now.some((name) => PODS.includes(name));
      });
      expect(await stateUid()).toBe(uid);
    },
    TIMEOUT_MS,
  );

  it(
    'is beside another release in a cluster, with a name and a state of its own',
    async () => {
      const own = ['--set', 'clusterId=other,stateNamespace=other-system', '--wait', '--timeout', '2m'];
      const sharing = run('install', 'other', CHART, '--values', valuesFile('minimal'));
      await expect(sharing).rejects.toThrow(/Namespace "byoc-system".*exists and cannot be imported/s);
      await run('install', 'other', CHART, '--values', valuesFile('minimal'), ...own);
      await run('uninstall', 'byoc', '--wait', '--timeout', '2m');
      expect(await kubectl('get', 'daemonset', '-n', NAMESPACE, '-o', 'name')).toBe(
        'daemonset.apps/other-connector-execution\n',
      );
      await expect(kubectl('get', 'namespace', 'other-system')).resolves.toContain('Active');
      await run('uninstall', 'other', '--wait', '--timeout', '2m');
    },
    TIMEOUT_MS,
  );
});

/** Of the StatefulSet, with its default of two. */
const PODS = ['byoc-connector-execution-0', 'byoc-connector-execution-1'];

/** Another one would be another namespace of the same name. */
function stateUid(): Promise<string> {
  return kubectl('get', 'namespace', 'byoc-system', '-o', 'jsonpath={.metadata.uid}');
}

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
