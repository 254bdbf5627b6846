import { z } from 'zod';
import { ConnectorError } from '../../domain/errors.ts';
import type { KubeReader } from './kube-api.ts';

/** One kind as the API server serves it. */
export interface Resource {
  readonly apiVersion: string;
  readonly kind: string;
  /** As in paths: `deployments`. */
  readonly plural: string;
  readonly namespaced: boolean;
  /** Whether it has the subresource `scale`. */
  readonly scalable: boolean;
}

export interface Discovery {
  /**
   * The kind, or undefined where the server has none. Without apiVersion it is looked for in core, apps, batch,
   * autoscaling, policy and networking, in the version that the server prefers.
   */
  resolve(apiVersion: string | undefined, kind: string): Promise<Resource | undefined>;
  /** What the server has at this place of a group, in any version, as of the last look. */
  servedAt(group: string, plural: string): Promise<Resource | undefined>;
}

const GROUPS_WITHOUT_API_VERSION = ['', 'apps', 'batch', 'autoscaling', 'policy', 'networking.k8s.io'];

/** Aggregated discovery (KEP-3352), stable since Kubernetes 1.30: two requests for all kinds. */
const ACCEPT = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList';

const documentSchema = z.object({
  items: z.array(
    z.object({
      metadata: z.object({ name: z.string().default('') }).default({ name: '' }),
      versions: z.array(
        z.object({
          version: z.string(),
          resources: z
            .array(
              z.object({
                resource: z.string(),
                responseKind: z.object({ kind: z.string() }).nullish(),
                scope: z.string(),
                subresources: z.array(z.object({ subresource: z.string() })).default([]),
              }),
            )
            .default([]),
        }),
      ),
    }),
  ),
});

/** Kinds as the API server tells them, kept until a kind is asked for that is not among them. */
export function createDiscovery(api: KubeReader): Discovery {
  let loading: Promise<Map<string, Resource>> | undefined;

  // Takes no signal: several callers share it.
  function load(): Promise<Map<string, Resource>> {
    const started = loadResources(api);
    loading = started;
    started.catch(() => {
      if (loading === started) loading = undefined; // the next one tries again
    });
    return started;
  }

  return {
    async resolve(apiVersion, kind) {
      const key = keyOf(apiVersion, kind);
      const known = loading;
      const found = (await (known ?? load())).get(key);
      if (found || !known) return found;
      // Several that miss at the same time share one refresh.
      return (await (loading === known ? load() : (loading ?? load()))).get(key);
    },

    async servedAt(group, plural) {
      const resources = [...(await (loading ?? load())).values()];
      return resources.find((one) => one.plural === plural && groupOf(one.apiVersion) === group);
    },
  };
}

async function loadResources(api: KubeReader): Promise<Map<string, Resource>> {
  const documents = await Promise.all(['/api', '/apis'].map((path) => api.getDocument(path, ACCEPT)));
  const groups = documents.flatMap((document) => {
    const parsed = documentSchema.safeParse(document);
    if (parsed.success) return parsed.data.items;
    const detail = `${api.server} does not serve aggregated discovery: Kubernetes 1.30 or newer is needed.`;
    throw new ConnectorError('CONFIG_INVALID', detail, { cause: parsed.error });
  });
  const resources = new Map<string, Resource>();
  for (const { metadata, versions } of groups) {
    for (const { version, resources: served } of versions) {
      const apiVersion = metadata.name ? `${metadata.name}/${version}` : version;
      for (const { resource, responseKind, scope, subresources } of served) {
        if (!responseKind?.kind) continue;
        const scalable = subresources.some(({ subresource }) => subresource === 'scale');
        const { kind } = responseKind;
        const entry = { apiVersion, kind, plural: resource, namespaced: scope === 'Namespaced', scalable };
        resources.set(keyOf(apiVersion, kind), entry);
      }
    }
  }
  // A group's versions come in the order of the server's preference, so the first one that has the kind is taken.
  for (const name of GROUPS_WITHOUT_API_VERSION) {
    const versions = groups.find(({ metadata }) => metadata.name === name)?.versions ?? [];
    for (const { version, resources: served } of versions) {
      for (const kind of served.flatMap(({ responseKind }) => responseKind?.kind ?? [])) {
        const entry = resources.get(keyOf(name ? `${name}/${version}` : version, kind));
        const key = keyOf(undefined, kind);
        if (entry && !resources.has(key)) resources.set(key, entry);
      }
    }
  }
  return resources;
}

function keyOf(apiVersion: string | undefined, kind: string): string {
  return `${apiVersion ?? '*'} ${kind}`;
}

/** `apps` of `apps/v1`; empty for the core group. */
export function groupOf(apiVersion: string): string {
  return apiVersion.includes('/') ? apiVersion.slice(0, apiVersion.indexOf('/')) : '';
}

/** The path of a kind's collection; `namespace` must be given for exactly the namespaced kinds. */
export function collectionPath(
  resource: Pick<Resource, 'apiVersion' | 'plural'>,
  namespace: string | undefined,
): string {
  const { apiVersion, plural } = resource;
  const root = groupOf(apiVersion) === '' ? ['api'] : ['apis'];
  const place = namespace === undefined ? [plural] : ['namespaces', namespace, plural];
  return `/${[...root, ...apiVersion.split('/'), ...place].map(encodeURIComponent).join('/')}`;
}
