import { randomUUID } from 'node:crypto';
import type { KubeObject, ObjectMeta } from '../../../activities/kubernetes/kube-object.ts';
import { isRecord } from '../../../activities/kubernetes/kube-object.ts';
import type { ServedKind } from './kinds.ts';
import { apiVersionOf, SERVED } from './kinds.ts';
import { omit } from './stored.ts';

/** Where an object is. */
export interface Place {
  readonly kind: ServedKind;
  readonly namespace?: string | undefined;
  readonly name: string;
}

export interface Change {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly kind: ServedKind;
  readonly object: KubeObject;
  readonly revision: number;
}

/** How much of what happened a watch can go on from. */
const REMEMBERED = 2_000;

/** The objects of the simulated cluster, in memory and nowhere else. */
export class ObjectStore {
  readonly #objects = new Map<string, KubeObject>();
  readonly #history: Change[] = [];
  readonly #listeners = new Set<(change: Change) => void>();
  #revision = 1; // no object ever has "1": applies use it for "must not exist"

  get revision(): string {
    return String(this.#revision);
  }

  get(place: Place): KubeObject | undefined {
    return this.#objects.get(keyOf(place));
  }

  /** By namespace and name. */
  list(kind: ServedKind, namespace: string | undefined): KubeObject[] {
    const prefix = keyOf({ kind, namespace, name: '' });
    const all = namespace === undefined ? keyOf({ kind, namespace: '', name: '' }).slice(0, -1) : prefix;
    const found = [...this.#objects].filter(([key]) => key.startsWith(all));
    return found.sort(([a], [b]) => (a < b ? -1 : 1)).map(([, object]) => object);
  }

  /** Keeps an object under the next resourceVersion. */
  put(place: Place, object: KubeObject): KubeObject {
    const type = this.get(place) ? 'MODIFIED' : 'ADDED';
    const kept = this.#counted(object);
    this.#objects.set(keyOf(place), kept);
    this.#tell({ type, kind: place.kind, object: kept, revision: this.#revision });
    return kept;
  }

  /** Removes an object, and with a namespace all that is in it, with an owner all that it owns. */
  remove(place: Place): void {
    const object = this.get(place);
    if (!object || !this.#objects.delete(keyOf(place))) return;
    this.#tell({ type: 'DELETED', kind: place.kind, object: this.#counted(object), revision: this.#revision });
    const isContent = ({ metadata }: KubeObject) =>
      (place.kind.kind === 'Namespace' && metadata.namespace === place.name) ||
      ownersIn(metadata).includes(object.metadata.uid);
    for (const kind of SERVED) {
      for (const one of this.list(kind, undefined)) {
        const { name, namespace } = one.metadata;
        if (isContent(one)) this.remove({ kind, namespace, name });
      }
    }
  }

  /** What happened after a revision; undefined where that is no longer known. */
  since(revision: number): readonly Change[] | undefined {
    const [oldest] = this.#history;
    if (oldest && this.#history.length === REMEMBERED && revision < oldest.revision) return undefined;
    return this.#history.filter((change) => change.revision > revision);
  }

  /** @returns what ends it */
  listen(listener: (change: Change) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #counted(object: KubeObject): KubeObject {
    this.#revision += 1;
    return { ...object, metadata: { ...object.metadata, resourceVersion: this.revision } };
  }

  #tell(change: Change): void {
    this.#history.push(change);
    if (this.#history.length > REMEMBERED) this.#history.shift();
    for (const listener of this.#listeners) listener(change);
  }
}

/** What the server gives a new object; no resourceVersion, which only what is kept has. */
export function created({ kind, namespace, name }: Place, object: KubeObject, now: Date): KubeObject {
  const metadata = {
    ...omit(object.metadata, 'resourceVersion'),
    name,
    ...(namespace !== undefined && { namespace }),
    uid: randomUUID(),
    creationTimestamp: now.toISOString().replace(/\.\d+Z$/, 'Z'),
    ...(kind.counted && { generation: 1 }),
  };
  return { ...object, apiVersion: apiVersionOf(kind), kind: kind.kind, metadata };
}

function keyOf({ kind, namespace = '', name }: Place): string {
  return `${kind.group}/${kind.plural}/${namespace}/${name}`;
}

function ownersIn({ ownerReferences }: ObjectMeta): unknown[] {
  return Array.isArray(ownerReferences) ? ownerReferences.map((one) => isRecord(one) && one['uid']) : [];
}
