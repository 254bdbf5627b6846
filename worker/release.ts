import type { WorkerDeploymentOptions } from '@temporalio/worker';
import { VERSION } from '../domain/names.ts';

/**
 * Tells Temporal which release works: it stands beside each workflow task and each poller. Nothing is routed by it, because
 * a rollout leaves no worker of the older release behind for runs that would be pinned to it; docs/upgrade.md says more.
 */
export function releaseOf(clusterId: string): WorkerDeploymentOptions {
  return { version: { deploymentName: `byoc-${clusterId}`, buildId: VERSION }, useWorkerVersioning: false };
}
