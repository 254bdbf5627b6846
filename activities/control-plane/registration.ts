import type { Registration } from '../../domain/control-plane.ts';
import type { Digest } from '../../domain/digest.ts';
import { ConnectorError } from '../../domain/errors.ts';
import { isSimulated } from '../../domain/simulation.ts';
import type { Role } from '../../domain/names.ts';
import type { ClusterFacts } from '../kubernetes/cluster-facts.ts';
import type { LoadedPolicy, PolicySource } from '../policy/load-policy.ts';

export interface RegistrationDeps {
  readonly clusterId: string;
  readonly hostname: string;
  /** As whoever installed the connector set them; they win over what is read from the nodes. */
  readonly labels: Readonly<Record<string, string>>;
  readonly roles: readonly Role[];
  readonly versions: Registration['versions'];
  /** PEM. */
  readonly auditKeys: readonly string[];
  readonly cluster: ClusterFacts;
  readonly policy: PolicySource;
}

/**
 * Reads who the cluster is and what may be done in it. What may not be read is left out; without its UID nothing is
 * registered, because a name alone could be anybody's.
 * @throws {ConnectorError} KUBERNETES_UNAVAILABLE, KUBERNETES_FORBIDDEN
 */
export async function describeRegistration(deps: RegistrationDeps): Promise<Registration> {
  const { clusterId, hostname, roles, versions, cluster } = deps;
  const [clusterUid, kubernetesVersion, nodes, policy] = await Promise.all([
    cluster.uid(),
    cluster.version(),
    cluster.nodes(),
    policyOf(deps.policy),
  ]);
  const namespaces = policy?.policy.allow.namespaces;
  return {
    clusterId,
    clusterUid,
    hostname,
    labels: { ...nodes?.labels, ...deps.labels },
    capabilities: {
      ...(kubernetesVersion !== undefined && { kubernetesVersion }),
      ...(nodes && { nodes: nodes.count, architectures: [...nodes.architectures] }),
      ...(namespaces && { namespaces: [...namespaces] }),
      roles: [...roles],
    },
    versions,
    ...(policy && { policyDigest: policy.digest }),
    auditKeys: [...deps.auditKeys],
    ...(isSimulated(clusterId) && { simulated: true }),
  };
}

/** The digest of the policy that holds; undefined for one that is broken. */
export async function policyDigestOf(source: PolicySource): Promise<Digest | undefined> {
  return (await policyOf(source))?.digest;
}

async function policyOf(source: PolicySource): Promise<LoadedPolicy | undefined> {
  try {
    return await source();
  } catch (error) {
    if (error instanceof ConnectorError) return undefined; // it has its own alert
    throw error;
  }
}
