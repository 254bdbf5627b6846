import { describeObject } from '../../../domain/plan.ts';
import type { Step } from '../../../domain/wpk.ts';
import type { KubeReader } from '../kube-api.ts';
import { at, isRecord, type KubeObject } from '../kube-object.ts';
import { isControlledBy, selectorOf } from '../selector.ts';
import { STAMP_PATH } from '../stamp.ts';
import { type Action, Obstacle } from './action.ts';
import { jsonPatchCall } from './calls.ts';
import { liveOf } from './live.ts';
import { refuseUnlessRollable } from './rollable.ts';

type Rollback = Extract<Step, { action: 'rollback' }>;

/** More revisions than that are kept by no workload. */
const MAX_REVISIONS = 1_000;

/** What belongs to a Deployment itself rather than to one of its revisions (kubectl `pkg/polymorphichelpers/rollback.go`). */
const OF_NO_REVISION: ReadonlySet<string> = new Set([
  'kubectl.kubernetes.io/last-applied-configuration',
  'deployment.kubernetes.io/revision',
  'deployment.kubernetes.io/revision-history',
  'deployment.kubernetes.io/desired-replicas',
  'deployment.kubernetes.io/max-replicas',
  'deprecated.deployment.rollback.to',
]);

interface Revision {
  readonly number: number;
  readonly template: Readonly<Record<string, unknown>>;
  /** Of the whole Deployment at that revision; other kinds keep none. */
  readonly annotations?: Readonly<Record<string, string>>;
}

/**
 * Goes back to an earlier template as `kubectl rollout undo` does. Stamped: the revision before the current one is
 * another one as soon as it is done.
 */
export const rollback: Action<Rollback> = {
  effect: 'change',
  stampAt: STAMP_PATH,
  isCertain: false,
  dependsOnMore: true,
  refusal: (_, object) => refuseUnlessRollable(object, 'rolled back'),
  async request({ step, intent, live: found, stamp, api, signal }) {
    const live = liveOf(step, found);
    if (at(live, 'spec', 'paused') === true) throw new Obstacle('its rollout is paused, so it cannot be rolled back');
    const name = describeObject(intent.object);
    const { template, annotations } = chosen(await revisionsOf(api, live, signal), step.toRevision, name);
    const kept = annotations && { ...ownAnnotations(live), ...annotations };
    const operations = [
      { op: 'replace', path: '/spec/template', value: template },
      ...(kept ? [{ op: 'add', path: '/metadata/annotations', value: kept }] : []),
    ];
    const hasAnnotations = kept !== undefined || isRecord(live.metadata.annotations);
    return jsonPatchCall(intent.path, operations, { live, stamp, hasAnnotations });
  },
  predict({ changedBy }) {
    throw new Obstacle(`the step ${changedBy} changes it first: which revision is the one before, nobody can say yet`);
  },
};

function chosen(revisions: readonly Revision[], wanted: number | undefined, name: string): Revision {
  const newestFirst = [...revisions].sort((a, b) => b.number - a.number);
  const found = wanted === undefined ? newestFirst[1] : newestFirst.find(({ number }) => number === wanted);
  if (found) return found;
  const what = wanted === undefined ? 'no revision before the current one' : `no revision ${wanted}`;
  throw new Obstacle(`${name} has ${what}`);
}

async function revisionsOf(api: KubeReader, workload: KubeObject, signal?: AbortSignal): Promise<Revision[]> {
  const isDeployment = workload.kind === 'Deployment';
  const plural = isDeployment ? 'replicasets' : 'controllerrevisions';
  const labelSelector = selectorOf(workload) ?? '';
  const path = `/apis/apps/v1/namespaces/${workload.metadata.namespace ?? ''}/${plural}`;
  const objects = (await api.list(path, { atMost: MAX_REVISIONS, labelSelector }, signal)) ?? [];
  const own = objects.filter((object) => isControlledBy(object, workload));
  return own.flatMap(isDeployment ? ofReplicaSet : ofControllerRevision);
}

function ofReplicaSet(set: KubeObject): Revision[] {
  const { annotations = {} } = set.metadata;
  const number = Number(annotations['deployment.kubernetes.io/revision']);
  const template = at(set, 'spec', 'template');
  if (!(number > 0) || !isRecord(template)) return [];
  const kept = Object.entries(annotations).filter(([key]) => !OF_NO_REVISION.has(key));
  return [{ number, template: withoutHash(template), annotations: Object.fromEntries(kept) }];
}

/** What tells the pods of one ReplicaSet from those of another is the Deployment controller's to set. */
function withoutHash(template: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const { metadata } = template;
  const labels = at(metadata, 'labels');
  if (!isRecord(metadata) || !isRecord(labels)) return template;
  const own = Object.entries(labels).filter(([key]) => key !== 'pod-template-hash');
  return { ...template, metadata: { ...metadata, labels: Object.fromEntries(own) } };
}

function ofControllerRevision(revision: KubeObject): Revision[] {
  const template = at(revision, 'data', 'spec', 'template');
  const number = Number(revision['revision']);
  if (!isRecord(template) || !(number > 0)) return [];
  // The revision is kept as a strategic merge patch.
  const own = Object.entries(template).filter(([key]) => key !== '$patch');
  return [{ number, template: Object.fromEntries(own) }];
}

function ownAnnotations({ metadata }: KubeObject): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(metadata.annotations ?? {}).filter(([key]) => OF_NO_REVISION.has(key)));
}
