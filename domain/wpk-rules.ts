import type { ErrorCode } from './errors.ts';
import { quote } from './json-parser.ts';
import type { Manifest, Step, Wpk } from './wpk.ts';

/** What is wrong with a package at one place. */
export interface WpkFinding {
  readonly code: Extract<ErrorCode, 'WPK_SCHEMA' | 'WPK_UNSUPPORTED'>;
  readonly path: readonly PropertyKey[];
  /** Whether the key, rather than its value, is the place to point at. */
  readonly atKey?: boolean;
  readonly sentence: string;
}

/** The rules that a schema cannot say: how the parts of a package must fit together. Needs no cluster and no clock. */
export function findWpkViolations(wpk: Wpk): WpkFinding[] {
  return [
    ...findUnsupported(wpk),
    ...findEmptyValidity(wpk),
    ...findRepeatedStepIds(wpk),
    ...wpk.steps.flatMap((step, index) => [
      ...findRepeatedManifests(step, index),
      ...findForeignNamespaces(wpk, step, index),
    ]),
  ];
}

/** What the format allows and this version cannot do yet. */
function findUnsupported({ onFailure }: Wpk): WpkFinding[] {
  if (onFailure !== 'rollback') return [];
  const sentence = 'Rolling back is not there yet; "onFailure" must be "halt".';
  return [{ code: 'WPK_UNSUPPORTED', path: ['onFailure'], sentence }];
}

function findEmptyValidity({ metadata: { notBefore, expiresAt } }: Wpk): WpkFinding[] {
  if (Date.parse(notBefore) < Date.parse(expiresAt)) return [];
  return [violation(['metadata', 'expiresAt'], '"expiresAt" must be later than "notBefore".')];
}

function findRepeatedStepIds({ steps }: Wpk): WpkFinding[] {
  const seen = new Set<string>();
  return steps.flatMap(({ id }, index) => {
    if (seen.has(id)) return [violation(['steps', index, 'id'], `Another step has the id ${quote(id)} already.`)];
    seen.add(id);
    return [];
  });
}

function findRepeatedManifests(step: Step, stepIndex: number): WpkFinding[] {
  if (step.action !== 'apply') return [];
  const seen = new Set<string>();
  return step.manifests.flatMap((manifest, index) => {
    const identity = identityOf(manifest);
    if (seen.has(identity)) {
      const sentence = `Another manifest of this step is for the same object (${identity}).`;
      return [violation(['steps', stepIndex, 'manifests', index], sentence)];
    }
    seen.add(identity);
    return [];
  });
}

/** Names an object whatever version of its API the manifest uses: two versions are two views of one object. */
function identityOf({ apiVersion, kind, metadata }: Manifest): string {
  const group = apiVersion.includes('/') ? `.${apiVersion.slice(0, apiVersion.indexOf('/'))}` : '';
  return `${kind}${group} ${metadata.namespace === undefined ? '' : `${metadata.namespace}/`}${metadata.name}`;
}

function findForeignNamespaces({ target }: Wpk, step: Step, stepIndex: number): WpkFinding[] {
  const touched =
    step.action === 'apply'
      ? step.manifests.map(({ metadata }, index) => ({
          namespace: metadata.namespace,
          path: ['steps', stepIndex, 'manifests', index, 'metadata', 'namespace'],
        }))
      : [{ namespace: step.target.namespace, path: ['steps', stepIndex, 'target', 'namespace'] }];
  return touched.flatMap(({ namespace, path }) => {
    if (namespace === undefined || target.namespaces.includes(namespace)) return [];
    return [violation(path, `The namespace ${quote(namespace)} is not listed in "target.namespaces".`)];
  });
}

function violation(path: readonly PropertyKey[], sentence: string): WpkFinding {
  return { code: 'WPK_SCHEMA', path, sentence };
}
