import { quote } from './json-parser.ts';
import type { Step, StepAction, Target, Wpk } from './wpk.ts';
import { targetsOf } from './wpk.ts';

/** What is wrong with a package at one place. */
export interface WpkFinding {
  readonly code: 'WPK_SCHEMA';
  readonly path: readonly PropertyKey[];
  /** Whether the key, rather than its value, is the place to point at. */
  readonly atKey?: boolean;
  readonly sentence: string;
}

/** The rules that a schema cannot say: how the parts of a package must fit together. Needs no cluster and no clock. */
export function findWpkViolations(wpk: Wpk): WpkFinding[] {
  return [
    ...findEmptyValidity(wpk),
    ...findRepeatedStepIds(wpk),
    ...wpk.steps.flatMap((step, index) => [
      ...findRepeatedManifests(step, index),
      ...findUnfitKind(step, index),
      ...findSecondWait(step, index),
      ...findForeignNamespaces(wpk, step, index),
    ]),
  ];
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
  return targetsOf(step).flatMap((target, index) => {
    const identity = identityOf(target);
    if (seen.has(identity)) {
      const sentence = `Another manifest of this step is for the same object (${identity}).`;
      return [violation(['steps', stepIndex, 'manifests', index], sentence)];
    }
    seen.add(identity);
    return [];
  });
}

/** Names an object whatever version of its API the manifest uses: two versions are two views of one object. */
function identityOf({ apiVersion = '', kind, name, namespace }: Target): string {
  const group = apiVersion.includes('/') ? `.${apiVersion.slice(0, apiVersion.indexOf('/'))}` : '';
  return `${kind}${group} ${namespace === undefined ? '' : `${namespace}/`}${name}`;
}

/** Actions that only some kind can take; of the others the cluster has the last word. */
function findUnfitKind(step: Step, stepIndex: number): WpkFinding[] {
  switch (step.action) {
    case 'run':
      if (step.manifest.kind === 'Job' && step.manifest.apiVersion === 'batch/v1') return [];
      return [violation(['steps', stepIndex, 'manifest', 'kind'], 'What is run is a Job of batch/v1.')];
    case 'cordon':
    case 'uncordon':
    case 'drain':
      if (step.target.kind === 'Node') return [];
      return [violation(['steps', stepIndex, 'target', 'kind'], `A ${step.target.kind} is no Node.`)];
    default:
      return [];
  }
}

/** These wait for their own end already, as long as they say. */
const WAITS_BY_ITSELF: ReadonlySet<StepAction> = new Set<StepAction>(['run', 'wait', 'drain']);

function findSecondWait({ action, wait }: Step, stepIndex: number): WpkFinding[] {
  if (!wait || !WAITS_BY_ITSELF.has(action)) return [];
  return [violation(['steps', stepIndex, 'wait'], `A ${action} waits by itself, at most its "timeoutSeconds".`)];
}

function findForeignNamespaces({ target }: Wpk, step: Step, stepIndex: number): WpkFinding[] {
  return targetsOf(step).flatMap(({ namespace }, index) => {
    if (namespace === undefined || target.namespaces.includes(namespace)) return [];
    const path = ['steps', stepIndex, ...placeOf(step, index), 'namespace'];
    return [violation(path, `The namespace ${quote(namespace)} is not listed in "target.namespaces".`)];
  });
}

/** Where in a step its target number `index` is. */
function placeOf({ action }: Step, index: number): readonly PropertyKey[] {
  if (action === 'apply') return ['manifests', index, 'metadata'];
  return action === 'run' ? ['manifest', 'metadata'] : ['target'];
}

function violation(path: readonly PropertyKey[], sentence: string): WpkFinding {
  return { code: 'WPK_SCHEMA', path, sentence };
}
