import { ConnectorError } from '../../domain/errors.ts';
import { forEachLimited } from './concurrency.ts';
import type { Intent } from './intents.ts';
import type { KubeReader } from './kube-api.ts';
import type { KubeObject } from './kube-object.ts';

/** From this many objects of one collection on, one list is cheaper than a request for each. */
const LIST_FROM = 4;
/** But not where the collection holds this many times more than what is wanted. */
const LIST_UP_TO = 20;
const LIST_AT_LEAST = 1_000;

/** Reads the live objects of all intents, by path; what is not there is not in the result. */
export async function readLive(
  api: KubeReader,
  intents: readonly Intent[],
  inFlight: number,
  signal?: AbortSignal,
): Promise<Map<string, KubeObject>> {
  const live = new Map<string, KubeObject>();
  const byCollection = Map.groupBy(
    intents.filter(({ kindCreated }) => !kindCreated),
    ({ collection }) => collection,
  );
  const single: string[] = [];
  await forEachLimited([...byCollection], inFlight, async ([collection, own]) => {
    const paths = new Set(own.map(({ path }) => path));
    const objects = paths.size < LIST_FROM ? undefined : await listFor(api, collection, paths.size, signal);
    if (!objects) {
      single.push(...paths);
      return;
    }
    for (const object of objects) {
      const path = `${collection}/${encodeURIComponent(object.metadata.name)}`;
      if (paths.has(path)) live.set(path, object);
    }
  });
  await forEachLimited(single, inFlight, async (path) => {
    const object = await api.get(path, signal);
    if (object) live.set(path, object);
  });
  return live;
}

/** The collection, or undefined where asking for each object is better, or all that is allowed. */
async function listFor(api: KubeReader, collection: string, wanted: number, signal?: AbortSignal) {
  try {
    return await api.list(collection, { atMost: Math.max(LIST_AT_LEAST, wanted * LIST_UP_TO) }, signal);
  } catch (error) {
    // A role bound to names may get each of them but not list.
    if (error instanceof ConnectorError && error.code === 'KUBERNETES_FORBIDDEN') return undefined;
    throw error;
  }
}
