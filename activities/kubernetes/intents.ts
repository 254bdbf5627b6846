import type { ObjectRef, PlanProblem } from '../../domain/plan.ts';
import type { Manifest, Step, Wpk } from '../../domain/wpk.ts';
import { collectionPath, type Discovery, type Resource } from './discovery.ts';
import { at } from './kube-object.ts';

/** One step's wish for one object, with where the API server serves it. */
export interface Intent {
  readonly step: Step;
  readonly stepIndex: number;
  readonly object: ObjectRef;
  /** Path of the collection, and of the object in it. */
  readonly collection: string;
  readonly path: string;
  /** For `apply`. */
  readonly manifest?: Manifest;
  /** Path of the namespace that the same package creates before, if it is not there yet. */
  readonly namespaceCreated?: string;
  /** The package itself brings the definition of this kind, and the API server does not serve it yet. */
  readonly kindCreated: boolean;
}

export interface Intents {
  /** In the order of the package. */
  readonly intents: readonly Intent[];
  readonly problems: readonly PlanProblem[];
}

/** Kinds whose pods `restart` can replace one after the other. */
const RESTARTABLE = new Set(['Deployment', 'StatefulSet', 'DaemonSet']);

/** Finds out what each step means in this cluster: kinds, scopes and paths. */
export async function resolveIntents(wpk: Wpk, discovery: Discovery): Promise<Intents> {
  const intents: Intent[] = [];
  const problems: PlanProblem[] = [];
  const created = createdBy(wpk);
  for (const [stepIndex, step] of wpk.steps.entries()) {
    const wishes = step.action === 'apply' ? step.manifests.map(wishOf) : [{ ...step.target, manifest: undefined }];
    for (const { apiVersion, kind, name, namespace, manifest } of wishes) {
      const served = await discovery.resolve(apiVersion, kind);
      const ownKind = created.kinds.get(`${apiVersion} ${kind}`);
      const resource = served ?? (ownKind && ownKind.stepIndex <= stepIndex ? ownKind : undefined);
      const object: ObjectRef = {
        apiVersion: resource?.apiVersion ?? apiVersion ?? '',
        kind,
        ...(namespace === undefined ? {} : { namespace }),
        name,
      };
      const message = resource ? refusal(step, object, resource, manifest) : `the API server knows no kind ${kind}`;
      if (!resource || message) {
        problems.push({ step: step.id, object, message: message ?? '' });
        continue;
      }
      const collection = collectionPath(resource, namespace);
      const owner = created.namespaces.get(namespace ?? '');
      intents.push({
        step,
        stepIndex,
        object,
        collection,
        path: `${collection}/${encodeURIComponent(name)}`,
        ...(manifest ? { manifest } : {}),
        ...(owner !== undefined && owner <= stepIndex ? { namespaceCreated: `/api/v1/namespaces/${namespace}` } : {}),
        kindCreated: !served,
      });
    }
  }
  return { intents, problems };
}

function wishOf(manifest: Manifest) {
  const { apiVersion, kind, metadata } = manifest;
  return { apiVersion, kind, name: metadata.name, namespace: metadata.namespace, manifest };
}

/** What is wrong with a wish before any server is asked. */
function refusal(
  step: Step,
  object: ObjectRef,
  resource: Resource,
  manifest: Manifest | undefined,
): string | undefined {
  const { kind, namespace } = object;
  if (resource.namespaced && namespace === undefined) return `a ${kind} lives in a namespace, and none is given`;
  if (!resource.namespaced && namespace !== undefined)
    return `a ${kind} lives in no namespace, and ${namespace} is given`;
  if (step.action === 'scale' && !resource.scalable) return `a ${kind} cannot be scaled`;
  if (step.action === 'restart' && !(RESTARTABLE.has(kind) && object.apiVersion.startsWith('apps/'))) {
    return `a ${kind} cannot be restarted, only ${[...RESTARTABLE].join(', ')} can`;
  }
  if (step.action === 'patch' && step.patch.type === 'merge') {
    const { metadata } = step.patch.body;
    if (metadata === null || at(metadata, 'annotations') === null) {
      return 'a merge patch cannot clear all annotations, because the one that marks the step as done is among them';
    }
  }
  const metadata =
    manifest?.metadata ?? (step.action === 'patch' && step.patch.type === 'merge' ? step.patch.body['metadata'] : {});
  for (const field of ['uid', 'resourceVersion', 'managedFields']) {
    if (at(metadata, field) !== undefined)
      return `metadata.${field} is for the connector to set, not for a work package`;
  }
  return undefined;
}

type OwnKind = Resource & { readonly stepIndex: number };

/** What later parts of the package stand on: the namespaces and kinds that it creates, with the step that does. */
function createdBy(wpk: Wpk): { namespaces: Map<string, number>; kinds: Map<string, OwnKind> } {
  const namespaces = new Map<string, number>();
  const kinds = new Map<string, OwnKind>();
  for (const [stepIndex, step] of wpk.steps.entries()) {
    if (step.action !== 'apply') continue;
    for (const manifest of step.manifests) {
      const { name } = manifest.metadata;
      if (manifest.kind === 'Namespace' && !namespaces.has(name)) namespaces.set(name, stepIndex);
      if (manifest.kind === 'CustomResourceDefinition') {
        for (const own of kindsOf(manifest)) kinds.set(`${own.apiVersion} ${own.kind}`, { ...own, stepIndex });
      }
    }
  }
  return { namespaces, kinds };
}

function kindsOf(definition: Manifest): Resource[] {
  const [group, kind, plural] = [['group'], ['names', 'kind'], ['names', 'plural']].map((path) =>
    String(at(definition['spec'], ...path) ?? ''),
  ) as [string, string, string]; // three paths, three texts
  const namespaced = at(definition['spec'], 'scope') === 'Namespaced';
  const versions = at(definition['spec'], 'versions');
  return (Array.isArray(versions) ? versions : []).map((version) => ({
    apiVersion: `${group}/${String(at(version, 'name'))}`,
    kind,
    plural,
    namespaced,
    scalable: at(version, 'subresources', 'scale') !== undefined,
  }));
}
