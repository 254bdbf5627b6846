import { pointerSegments } from '../../domain/json-pointer.ts';
import type { Manifest, Step } from '../../domain/wpk.ts';
import { at, isRecord } from './kube-object.ts';
import { RESTART_STAMP_PATH, STAMP_PATH } from './stamp.ts';

/** What no package may say: what binds a write, what marks it as done, and what no plan shows (`normalize.ts`). */
const RESERVED: readonly Reserved[] = [
  ...['uid', 'resourceVersion', 'managedFields'].map((field) => ({ path: ['metadata', field], by: 'the connector' })),
  { path: STAMP_PATH, by: 'the connector' },
  { path: RESTART_STAMP_PATH, by: 'the connector' },
  { path: ['status'], by: 'controllers' },
  { path: ['metadata', 'annotations', 'deployment.kubernetes.io/revision'], by: 'controllers' },
  { path: ['metadata', 'annotations', 'deprecated.daemonset.template.generation'], by: 'the API server' },
  { path: ['metadata', 'annotations', 'kubectl.kubernetes.io/last-applied-configuration'], by: 'kubectl' },
  ...['controller-uid', 'batch.kubernetes.io/controller-uid'].flatMap((label) => [
    { kind: 'Job', path: ['metadata', 'labels', label], by: 'the API server' },
    { kind: 'Job', path: ['spec', 'selector', 'matchLabels', label], by: 'the API server' },
    { kind: 'Job', path: ['spec', 'template', 'metadata', 'labels', label], by: 'the API server' },
  ]),
];

interface Reserved {
  readonly path: readonly string[];
  /** All kinds where it is left out. */
  readonly kind?: string;
  /** Who sets it. */
  readonly by: string;
}

/** Stands for whatever a JSON patch brings from elsewhere in the live object. */
const ANYTHING = Symbol('anything');

/**
 * Why a step may not say what it says, or undefined where it may.
 * @param manifest of an `apply` step; what it leaves empty it does not say
 */
export function reservedIn(step: Step, kind: string, manifest: Manifest | undefined): string | undefined {
  const written = writtenBy(step, manifest);
  const applies = (rule: Reserved) => rule.kind === undefined || rule.kind === kind;
  const found = RESERVED.find((rule) => applies(rule) && written.some((value) => says(value, rule.path)));
  if (found) return `${dotted(found.path)} is for ${found.by} to set, not for a work package`;
  if (kind === 'Secret' && carriesOutOfData(step)) {
    return 'copy and move in a Secret go from one key of data to another: elsewhere plans would show the value';
  }
  return undefined;
}

/** The parts of an object that a step writes, each in the shape of the object. */
function writtenBy(step: Step, manifest: Manifest | undefined): readonly unknown[] {
  if (step.action !== 'patch') return manifest ? [manifest] : [];
  if (step.patch.type === 'merge') return [step.patch.body];
  return step.patch.operations.flatMap((operation) => {
    const at = (pointer: string, value: unknown) => nested(pointerSegments(pointer), value);
    switch (operation.op) {
      case 'test':
        return [];
      case 'remove':
        return [at(operation.path, null)];
      case 'copy':
        return [at(operation.path, ANYTHING)];
      case 'move':
        return [at(operation.from, null), at(operation.path, ANYTHING)];
      default: // with an empty map as value it clears what is there
        return [at(operation.path, isEmpty(operation.value) ? null : operation.value)];
    }
  });
}

function says(value: unknown, [key, ...rest]: readonly string[]): boolean {
  if (value === ANYTHING) return true;
  if (key === undefined) return value !== undefined && !isEmpty(value);
  return isRecord(value) && Object.hasOwn(value, key) && says(at(value, key), rest);
}

/** Labels and annotations of a Secret are shown as they are, and its annotations may hold a copy of its data. */
function carriesOutOfData(step: Step): boolean {
  if (step.action !== 'patch' || step.patch.type !== 'json') return false;
  const isKey = (pointer: string) => /^\/data\/[^/]+$/.test(pointer);
  return step.patch.operations.some(
    (one) => (one.op === 'copy' || one.op === 'move') && !(isKey(one.from) && isKey(one.path)),
  );
}

function isEmpty(value: unknown): boolean {
  return isRecord(value) && Object.keys(value).length === 0;
}

function nested(path: readonly string[], value: unknown): unknown {
  return path.reduceRight<unknown>((inner, key) => ({ [key]: inner }), value);
}

function dotted(path: readonly string[]): string {
  return path.map((key, index) => (/[./]/.test(key) ? `["${key}"]` : index === 0 ? key : `.${key}`)).join('');
}
