import { diffPaths } from '../../domain/diff.ts';
import { FIELD_MANAGER } from '../../domain/names.ts';
import { at, isRecord, type KubeObject, listAt } from './kube-object.ts';
import { normalize } from './normalize.ts';
import { reverted } from './three-way.ts';
import type { UndoEntry } from './undo-entry.ts';

/** What undoing one write comes to, with the object as it is now. */
export type UndoDecision =
  /** There is nothing to do, or no longer. */
  | { readonly do: 'nothing' }
  /** It is not touched: somebody else's work would be lost. */
  | { readonly do: 'leave'; readonly why: string }
  | { readonly do: 'remove'; readonly live: KubeObject }
  /** With the object as it is to be, bound to the state that it is in. */
  | { readonly do: 'restore'; readonly object: KubeObject }
  | { readonly do: 'recreate'; readonly object: KubeObject }
  /** It is on its way out still; once it is gone it can be made anew. */
  | { readonly do: 'await-end'; readonly live: KubeObject };

/** What controllers set on objects of others: it keeps none from being removed by whoever made it. */
const BY_CONTROLLERS =
  /^\/(metadata\/(annotations|finalizers|labels\/kubernetes\.io~1)|spec\/(replicas|volumeName|finalizers|caBundle|nodeName)|secrets)/;

/** Decides how one write is undone. Whoever acts on it binds the request to the state that was decided on. */
export function decideUndo({ before, after, isExact }: UndoEntry, live: KubeObject | undefined): UndoDecision {
  if (before && after) return undoChange(before, after, live);
  if (before) return undoDeletion(before, live);
  return after ? undoCreation(after, isExact, live) : { do: 'nothing' };
}

function undoCreation(after: KubeObject, isExact: boolean, live: KubeObject | undefined): UndoDecision {
  const isAway = !live || live.metadata.deletionTimestamp !== undefined;
  // Where the write never came through, somebody else may have made an object of that name.
  if (isAway || !isOurs(live)) return { do: 'nothing' };
  const changes = diffPaths(comparable(after, undefined), comparable(live, undefined)).filter(
    (change) => !BY_CONTROLLERS.test(change.path) && (isExact || change.before !== undefined),
  );
  const [first] = changes;
  return first ? { do: 'leave', why: changedSince(live, first.path) } : { do: 'remove', live };
}

function undoChange(before: KubeObject, after: KubeObject, live: KubeObject | undefined): UndoDecision {
  if (!live || live.metadata.deletionTimestamp !== undefined)
    return { do: 'leave', why: 'somebody has deleted it since' };
  if (live.metadata.uid !== before.metadata.uid) return { do: 'leave', why: 'another object has its name by now' };
  const { value, conflicts } = reverted(comparable(before, before), comparable(after, before), live);
  const [first] = conflicts;
  if (first !== undefined) return { do: 'leave', why: changedSince(live, first) };
  const object = value as KubeObject; // apiVersion, kind and metadata are the same in all three
  const isSo = diffPaths(comparable(live, before), comparable(object, before)).length === 0;
  return isSo ? { do: 'nothing' } : { do: 'restore', object };
}

function undoDeletion(before: KubeObject, live: KubeObject | undefined): UndoDecision {
  if (before.kind === 'Job') return { do: 'leave', why: 'a Job that is made anew would run anew' };
  if (!live) return { do: 'recreate', object: reborn(before) };
  const isSame = live.metadata.uid === before.metadata.uid;
  if (isSame) return live.metadata.deletionTimestamp === undefined ? { do: 'nothing' } : { do: 'await-end', live };
  // An earlier attempt may have made it anew.
  const isReborn = diffPaths(comparable(reborn(before), before), comparable(live, before)).length === 0;
  return isReborn ? { do: 'nothing' } : { do: 'leave', why: 'somebody has made another one since' };
}

/** Whether an object that was undone is, in all that counts, what it was before: then its owners are what they were too. */
export function isAsBefore({ before }: UndoEntry, now: KubeObject): boolean {
  return before !== undefined && diffPaths(comparable(before, before), comparable(now, before)).length === 0;
}

const JOB_RAN = 'the Job was started: what it did elsewhere stays done';
const EVICTED = 'the pods that were evicted are not brought back to the node';

/** What is lost with an object, so that making it anew brings back its frame alone. */
const LOST_WITH: Readonly<Record<string, string>> = {
  Namespace: 'what was in the namespace is gone',
  PersistentVolumeClaim: 'it gets a new volume: the data of the old one are gone, or stay in a released volume',
  PersistentVolume: 'what its storage held may be gone',
  CustomResourceDefinition: 'the objects of its kind are gone',
};

/** What undoing a write cannot bring back, if there is something. */
export function lossOf({ action, object, before, after }: UndoEntry): string | undefined {
  if (action === 'drain') return EVICTED;
  if (!before && after?.kind === 'Job') return JOB_RAN;
  return before && !after ? LOST_WITH[object.kind] : undefined;
}

/** What counts in an object. @param said whose values at the server's choice count */
function comparable(object: KubeObject, said: KubeObject | undefined): KubeObject {
  return normalize(object, { mask: (value) => value, saidBy: said ? [said] : [] });
}

/** What the API server gives to an object when it is made. */
const GIVEN: ReadonlySet<string> = new Set([
  ...['uid', 'resourceVersion', 'creationTimestamp', 'generation', 'managedFields', 'selfLink'],
  ...['deletionTimestamp', 'deletionGracePeriodSeconds'],
]);

/** A deleted object as it can be made again. */
function reborn(before: KubeObject): KubeObject {
  const { annotations } = before.metadata;
  const metadata = {
    ...Object.fromEntries(Object.entries(before.metadata).filter(([key]) => !GIVEN.has(key))),
    ...(annotations && { annotations: rebornAnnotations(annotations) }),
  };
  const rest = Object.fromEntries(Object.entries(before).filter(([key]) => key !== 'status'));
  const spec = isRecord(rest['spec']) ? { spec: rebornSpec(before.kind, rest['spec']) } : {};
  return { ...rest, ...spec, metadata } as unknown as KubeObject; // with the names that it had
}

/** Bound to a volume or a node that may not take it again. */
function rebornSpec(kind: string, spec: Readonly<Record<string, unknown>>): unknown {
  if (kind !== 'PersistentVolumeClaim' && kind !== 'Pod') return spec;
  return Object.fromEntries(Object.entries(spec).filter(([key]) => key !== 'volumeName' && key !== 'nodeName'));
}

function rebornAnnotations(annotations: Readonly<Record<string, unknown>>): unknown {
  return Object.fromEntries(Object.entries(annotations).filter(([key]) => !key.startsWith('pv.kubernetes.io/')));
}

/** Who owns no field is not listed: an object that says nothing but its name is nobody's, and so may be ours. */
function isOurs(live: KubeObject): boolean {
  const owners = listAt(live, 'metadata', 'managedFields').filter((entry) => at(entry, 'subresource') === undefined);
  return owners.length === 0 || owners.some((entry) => at(entry, 'manager') === FIELD_MANAGER);
}

function changedSince(live: KubeObject, path: string): string {
  const others = listAt(live, 'metadata', 'managedFields')
    .filter((entry) => at(entry, 'manager') !== FIELD_MANAGER && at(entry, 'subresource') === undefined)
    .sort((a, b) => String(at(b, 'time')).localeCompare(String(at(a, 'time'))));
  const [newest] = others;
  const by = newest === undefined ? '' : ` by "${String(at(newest, 'manager'))}"`;
  return `${path === '' ? 'it' : path} was changed since${by}`;
}
