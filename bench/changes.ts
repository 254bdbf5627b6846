import { createHash } from 'node:crypto';
import { stringify } from 'yaml';
import type { Digest } from '../domain/digest.ts';
import { canonicalJson } from '../domain/digest.ts';
import type { Step } from '../domain/wpk.ts';
import { applyStep, configMap } from '../test/support/packages.ts';

/** What every playbook of the benchmarks is called: the policy lists it. */
export const PLAYBOOK = 'bench';

/**
 * The same objects with two contents that take turns: each round updates every object, whoever makes the change.
 * The first round creates them; it belongs to the warm-up.
 */
export interface Change {
  readonly namespace: string;
  readonly objects: number;
  steps(round: number): readonly Step[];
  /** As a user keeps them for kubectl: YAML documents in one file. */
  manifests(round: number): string;
  /** What a policy names to approve the change, whichever round. */
  readonly stepsDigests: readonly Digest[];
}

const VARIANTS = ['a', 'b'] as const;

/** Changes ConfigMaps of about 450 bytes each, so that 1,000 of them fit into a package of 1 MiB. */
export function configMapChange(namespace: string, objects: number): Change {
  const variants = VARIANTS.map((variant) => {
    return Array.from({ length: objects }, (_, index) => {
      const name = `settings-${String(index).padStart(4, '0')}`;
      const data = { variant, index: String(index), 'application.properties': propertiesOf(name, variant) };
      return configMap(name, namespace, data);
    });
  });
  const manifestsIn = (round: number) => variants[round % VARIANTS.length] ?? [];
  return {
    namespace,
    objects,
    steps: (round) => [applyStep(...manifestsIn(round))],
    manifests: (round) =>
      manifestsIn(round)
        .map((manifest) => `---\n${stringify(manifest)}`)
        .join(''),
    stepsDigests: variants.map((manifests) => digestOf(canonicalJson([applyStep(...manifests)]))),
  };
}

function propertiesOf(name: string, variant: string): string {
  const lines = ['host', 'path', 'pool', 'retry', 'trace'].map((key) => `${key}.${variant}=${name}.${key}.example.com`);
  return `${lines.join('\n')}\n`;
}

function digestOf(text: string): Digest {
  return `sha256:${createHash('sha256').update(text).digest('hex')}`;
}
