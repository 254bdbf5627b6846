/** Names that other programs rely on. Changing one is a breaking change. */

export type Role = 'registration' | 'metrics' | 'execution';

/** The name of a cluster is a DNS label: it becomes a part of paths, queues and policies. */
export const CLUSTER_ID = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

/** Version of the connector, as package.json has it. */
export const VERSION = '0.1.0';

/** The workflow type of a work package's run. */
export const EXECUTE_WPK = 'executeWpk';

/** The workflow type of the rollback of a package that failed or was stopped. */
export const ROLLBACK_WPK = 'rollbackWpk';

/** Server-side apply's field manager: everything the connector writes is owned by this name. */
export const FIELD_MANAGER = 'byoc-connector';

/** Stamped, with package id and step, on what `restart`, `scale`, `patch` change: repeated attempts see what is done. */
export const STAMP_ANNOTATION = 'neuralops.io/wpk-step';

/** The namespace of the connector's own state (claims, locks, freeze, snapshots, keys) where no other one is set. */
export const STATE_NAMESPACE = 'byoc-system';

/** The Secret with the key that personal data in labels of metrics is hashed with. */
export const REDACTION_KEY = 'byoc-redaction-key';

/** Search attributes (all Keyword) that the connector sets where the Temporal namespace has them registered. */
export const SEARCH_ATTRIBUTES = {
  cluster: 'ByocCluster',
  phase: 'ByocPhase',
  risk: 'ByocRisk',
  playbook: 'ByocPlaybook',
} as const;

/** Id of the one workflow that a work package may ever have. */
export function workflowIdOf(clusterId: string, wpkId: string): string {
  return `wpk/${clusterId}/${wpkId}`;
}

/** Id of the workflow that rolls a package back; one at a time. */
export function rollbackIdOf(clusterId: string, wpkId: string): string {
  return `rollback/${clusterId}/${wpkId}`;
}

export function taskQueueOf(clusterId: string, role: Role): string {
  return `byoc.${clusterId}.${role}`;
}

/** The queue for what only the process with this writer's log on its disk can do. */
export function auditQueueOf(clusterId: string, writer: string): string {
  return `byoc.${clusterId}.audit.${writer}`;
}

/** The queue for what only the process with this writer's metrics on its disk can do. */
export function metricsQueueOf(clusterId: string, writer: string): string {
  return `${taskQueueOf(clusterId, 'metrics')}.${writer}`;
}

/** Id of a Temporal Schedule; those that each writer has of its own end in the writer's name. */
export function scheduleIdOf(clusterId: string, name: string, writer?: string): string {
  return ['byoc', clusterId, name, ...(writer === undefined ? [] : [writer])].join('/');
}

/** The chain that a writer begins with. */
export function chainOf(clusterId: string, writer: string): string {
  return `${clusterId}.${writer}`;
}

/** The Lease in which a writer publishes its head, in the state namespace. */
export function leaseNameOf(clusterId: string, writer: string): string {
  return `byoc-audit-${clusterId}.${writer}`;
}
