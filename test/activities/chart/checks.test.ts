import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { SCHEMA_LOCATION, writeApiSchemas, writeCrdSchemas } from '../../../dev/chart/kubernetes-schemas.ts';
import { CHART, helm, VALUES, valuesFile } from '../../support/chart.ts';
import { filesOf, runTool, tool } from '../../support/tools.ts';

// R22

const VERSIONS = ['1.31', '1.32', '1.33', '1.34'];

let folder: string;
const rendered = (name: string) => join(folder, `${name}.yaml`);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'byoc-chart-'));
  for (const name of VALUES) {
    const args = ['template', 'byoc', CHART, '--namespace', 'byoc', '--values', valuesFile(name)];
    await writeFile(rendered(name), (await helm(args)).stdout);
  }
}, 120_000);

afterAll(() => rm(folder, { recursive: true, force: true }));

describe('helm lint', () => {
  it.each(VALUES)('finds nothing with the %s values', async (name) => {
    const { code, stdout } = await helm([
      'lint',
      '--strict',
      CHART,
      '--namespace',
      'byoc',
      '--values',
      valuesFile(name),
    ]);
    expect({ code, warnings: stdout.match(/\[(WARNING|ERROR)\].*/g) }).toEqual({ code: 0, warnings: null });
  });
});

describe('kubeconform', () => {
  beforeAll(async () => {
    const [api, crds] = [await filesOf('kubernetes-api'), await filesOf('prometheus-operator-crds')];
    for (const version of VERSIONS) {
      const into = join(folder, `v${version}.0`);
      await writeApiSchemas(join(api, `${version}.json`), into);
      for (const plural of ['servicemonitors', 'prometheusrules'])
        await writeCrdSchemas(join(crds, `${plural}.yaml`), into);
    }
  }, 300_000); // the first time, the sources of four versions are downloaded

  const validate = async (version: string, file: string) => {
    const location = join(folder, SCHEMA_LOCATION);
    const args = [
      '-strict',
      '-output',
      'json',
      '-kubernetes-version',
      `${version}.0`,
      '-schema-location',
      location,
      file,
    ];
    const { code, stdout } = await runTool(await tool('kubeconform'), args);
    return { code, resources: (JSON.parse(stdout) as { resources: { msg: string }[] }).resources };
  };

  it.each(VERSIONS)('finds everything to be as the API of Kubernetes %s has it', async (version) => {
    for (const name of VALUES) expect(await validate(version, rendered(name))).toEqual({ code: 0, resources: [] });
  });

  it('would find a field that is not there, deep inside', async () => {
    const text =
      'apiVersion: v1\nkind: Pod\nmetadata: { name: a }\nspec: { containers: [{ name: a, image: a, livenessProbe: { httpGett: {} } }] }\n';
    await writeFile(rendered('wrong'), text);
    const { code, resources } = await validate('1.34', rendered('wrong'));
    expect(code).toBe(1);
    expect(resources[0]?.msg).toContain('httpGett');
  });
});

describe('kube-score', () => {
  /** What it finds and we leave so: values, object, check, and why. */
  const EXCEPTIONS = [
    [
      'full',
      'Deployment codec-server',
      'deployment-replicas',
      'for people who look, a few seconds without it are no harm',
    ],
    ['full', 'Deployment registration', 'deployment-replicas', 'one heartbeat a cluster; a second pod would only wait'],
    ['full', 'Deployment metrics', 'deployment-replicas', 'each pod would send the metrics again'],
    ['full', 'Deployment metrics', 'deployment-strategy', 'Recreate, for the same reason'],
    ['full', 'StatefulSet execution', 'statefulset-has-host-podantiaffinity', 'topologySpreadConstraints do it'],
    [
      'cosign',
      'DaemonSet execution',
      'container-security-context-user-group-id',
      'values for OpenShift, which sets users itself',
    ],
    ['cosign', 'DaemonSet execution', 'pod-networkpolicy', 'values with network policies turned off'],
  ];

  it('finds nothing but what is known and has a reason', async () => {
    const found: string[][] = [];
    for (const name of VALUES) {
      const optional = ['container-seccomp-profile', 'container-ports-check'].flatMap((id) => [
        '--enable-optional-test',
        id,
      ]);
      const args = ['score', '--output-format', 'json', '--kubernetes-version', 'v1.34', ...optional, rendered(name)];
      const scores = JSON.parse((await runTool(await tool('kube-score'), args)).stdout) as Score[];
      for (const { type_meta: type, object_meta: meta, checks } of scores) {
        for (const { check, grade, skipped } of checks) {
          if (!skipped && grade < ALL_OK)
            found.push([name, `${type.kind} ${meta.name.replace('byoc-connector-', '')}`, check.id]);
        }
      }
    }
    expect(found.sort()).toEqual(EXCEPTIONS.map((one) => one.slice(0, 3)).sort());
  }, 120_000);
});

const ALL_OK = 10;

interface Score {
  readonly type_meta: { readonly kind: string };
  readonly object_meta: { readonly name: string };
  readonly checks: readonly {
    readonly check: { readonly id: string };
    readonly grade: number;
    readonly skipped: boolean;
  }[];
}
