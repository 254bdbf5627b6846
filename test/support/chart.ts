import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { CHART } from '../../dev/chart/values.ts';
import type { Ran } from './tools.ts';
import { runTool, tool } from './tools.ts';

export { CHART };

/** Sets of values: the least, everything, and without Vault. */
export const VALUES = ['minimal', 'full', 'cosign'] as const;

export const valuesFile = (name: (typeof VALUES)[number]): string => join(CHART, 'ci', `${name}-values.yaml`);

export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Record<string, string>;
    readonly annotations?: Record<string, string>;
  };
  readonly [field: string]: unknown;
}

/** Runs Helm with a home of its own. Other values than those of files are an object. */
export async function helm(args: readonly string[], { values, env = {} }: HelmOptions = {}): Promise<Ran> {
  const home = await mkdtemp(join(tmpdir(), 'byoc-helm-'));
  const homes = { HELM_CACHE_HOME: home, HELM_CONFIG_HOME: home, HELM_DATA_HOME: home };
  try {
    const more = values === undefined ? [] : ['--values', join(home, 'values.yaml')];
    if (values !== undefined) await writeFile(join(home, 'values.yaml'), JSON.stringify(values)); // which no version of YAML takes for something else
    return await runTool(await tool('helm'), [...args, ...more], { ...homes, ...env });
  } finally {
    await rm(home, { recursive: true, force: true });
  }
}

interface HelmOptions {
  readonly values?: unknown;
  readonly env?: Readonly<Record<string, string>>;
}

/** What the chart makes of a set of values, with some changed. */
export async function render(
  name: (typeof VALUES)[number],
  values: unknown = {},
  { release = 'byoc', namespace = 'byoc' }: { readonly release?: string; readonly namespace?: string } = {},
): Promise<readonly Manifest[]> {
  const args = ['template', release, CHART, '--namespace', namespace, '--values', valuesFile(name)];
  const { code, stdout, stderr } = await helm(args, { values });
  if (code !== 0) throw new Error(stderr);
  return parseAllDocuments(stdout).flatMap((document) =>
    document.contents === null ? [] : [document.toJS() as Manifest],
  );
}

/** Why the chart makes nothing of some values. */
export async function refusal(name: (typeof VALUES)[number], values: unknown): Promise<string> {
  return render(name, values).then(
    () => 'taken',
    (error: unknown) => (error as Error).message,
  );
}
