import type { ObjectRef, PlanProblem } from '../../domain/plan.ts';
import type { Manifest, Step, Wpk } from '../../domain/wpk.ts';
import { collectionPath, type Discovery, type Resource } from './discovery.ts';
import { actionOf, wishesOf } from './actions/index.ts';
import { createdBy, ownKindOf } from './own-kinds.ts';
import { reservedIn } from './reserved.ts';

/** One step's wish for one object, with where the API server serves it. */
export interface Intent {
  readonly step: Step;
  readonly stepIndex: number;
  readonly object: ObjectRef;
  /** Path of the collection, and of the object in it. */
  readonly collection: string;
  readonly path: string;
  /** For what is brought. */
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

/** Finds out what each step means in this cluster: kinds, scopes and paths. */
export async function resolveIntents(wpk: Wpk, discovery: Discovery): Promise<Intents> {
  const intents: Intent[] = [];
  const problems: PlanProblem[] = [];
  const created = createdBy(wpk);
  for (const [stepIndex, step] of wpk.steps.entries()) {
    for (const { apiVersion, kind, name, namespace, manifest } of wishesOf(step, wpk.metadata.id)) {
      const served = await discovery.resolve(apiVersion, kind);
      const resource = served ?? (await ownKindOf(created, `${apiVersion} ${kind}`, stepIndex, discovery));
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
  const message = actionOf(step).refusal?.(step, object, resource);
  if (message) return message;
  return reservedIn(step, kind, manifest);
}

/** Whether a step takes over fields of other managers. */
export function isForced(step: Step): boolean {
  return step.action === 'apply' && step.force === true;
}
