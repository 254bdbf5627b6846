import { z } from 'zod';
import { ConnectorError } from '../../domain/errors.ts';
import type { KubeReader } from './kube-api.ts';

/** What is read from the cluster itself. All throw KUBERNETES_UNAVAILABLE, `uid` KUBERNETES_FORBIDDEN too. */
export interface ClusterFacts {
  /** Of the namespace kube-system. */
  uid(): Promise<string>;
  /** Undefined where this account may not ask, as of the nodes. */
  version(): Promise<string | undefined>;
  nodes(): Promise<NodeFacts | undefined>;
}

/** What is worth knowing of the nodes from afar. */
export interface NodeFacts {
  readonly count: number;
  readonly architectures: readonly string[];
  /** The labels of those below that are the same on all nodes. */
  readonly labels: Readonly<Record<string, string>>;
}

/** Where a cluster is and what it runs on; well-known labels of Kubernetes. */
const SHARED_LABELS = ['topology.kubernetes.io/region', 'kubernetes.io/os'];
const ARCHITECTURE_LABEL = 'kubernetes.io/arch';

/** Without specs and statuses, which are most of a node and say nothing here. */
const METADATA_ONLY = 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1';
const PAGE_SIZE = 500;

const pageSchema = z.object({
  metadata: z.object({ continue: z.string().default('') }),
  items: z.array(z.object({ metadata: z.object({ labels: z.record(z.string(), z.string()).default({}) }) })),
});

const versionSchema = z.object({ gitVersion: z.string().max(64) });

export function clusterFacts(api: KubeReader): ClusterFacts {
  return {
    uid: () => api.clusterUid(),
    version: () =>
      unlessForbidden(
        async () => versionSchema.safeParse(await api.getDocument('/version', 'application/json')).data?.gitVersion,
      ),
    nodes: () => unlessForbidden(() => readNodes(api)),
  };
}

async function readNodes(api: KubeReader): Promise<NodeFacts> {
  const architectures = new Set<string>();
  const shared = new Map<string, Set<string | undefined>>(SHARED_LABELS.map((name) => [name, new Set()]));
  let count = 0;
  let next = '';
  do {
    const query = `limit=${PAGE_SIZE}${next && `&continue=${encodeURIComponent(next)}`}`;
    const page = pageSchema.safeParse(await api.getDocument(`/api/v1/nodes?${query}`, METADATA_ONLY));
    if (!page.success) throw new ConnectorError('KUBERNETES_UNAVAILABLE', 'The list of nodes cannot be read.');
    for (const { metadata } of page.data.items) {
      const { [ARCHITECTURE_LABEL]: architecture } = metadata.labels;
      if (architecture !== undefined) architectures.add(architecture);
      for (const [name, values] of shared) values.add(metadata.labels[name]);
    }
    count += page.data.items.length;
    next = page.data.metadata.continue;
  } while (next);
  const labels = [...shared].flatMap(([name, [first, ...others]]) =>
    first !== undefined && others.length === 0 ? [[name, first] as const] : [],
  );
  return { count, architectures: [...architectures].sort(), labels: Object.fromEntries(labels) };
}

async function unlessForbidden<T>(read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof ConnectorError && error.code === 'KUBERNETES_FORBIDDEN') return undefined;
    throw error;
  }
}
