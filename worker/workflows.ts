import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { DataConverter } from '@temporalio/common';
import type { WorkerOptions } from '@temporalio/worker';
import { bundleWorkflowCode, DefaultLogger } from '@temporalio/worker';
import { dataConverter } from '../client/data-converter/index.ts';
import { ConnectorError } from '../domain/errors.ts';
import type { Role } from '../domain/names.ts';
import { metricsQueueOf, taskQueueOf } from '../domain/names.ts';
import type { WorkerConfig } from './config.ts';
import { releaseOf } from './release.ts';

/** The workflows of a worker; none where its process runs them on the queue of another of its roles. */
export type RoleWorkflows = Pick<
  WorkerOptions,
  'workflowBundle' | 'workerDeploymentOptions' | 'debugMode' | 'maxCachedWorkflows'
>;

/**
 * A few short runs at a time, all of them ours: a thread of their own would take 35 MiB, most of it a second copy of
 * Temporal's message types. The SDK's name for that says what others use it for; all else that it changes is that
 * nothing looks for workflows that block, and these have no loops.
 */
const ON_MAIN_THREAD = { debugMode: true, maxCachedWorkflows: 10 } as const;

/** What can be run: everything, or only what is scheduled for a process that executes nothing. */
const BUNDLES = { index: 'workflow-bundle.js', scheduled: 'scheduled-bundle.js' } as const;

/**
 * All workflows.
 * @throws {ConnectorError} CONFIG_INVALID for a bundle that would tell failures in clear where they are to be encrypted
 */
export function executionWorkflows(
  config: WorkerConfig,
  { failureConverterPath }: DataConverter,
): Promise<RoleWorkflows> {
  return workflowsOf(config, 'index', failureConverterPath);
}

/**
 * The workflows of another role than execution: each process runs its own, so that the others go on where one role is
 * down. Where it has the role execution too, they run there.
 */
export async function scheduledWorkflows(
  config: WorkerConfig,
  role: Role,
): Promise<{ readonly workflowQueue: string; readonly workflows: RoleWorkflows }> {
  const workflowQueue = workflowQueueOf(config, role);
  if (isExecuting(config)) return { workflowQueue, workflows: {} };
  return { workflowQueue, workflows: { ...(await workflowsOf(config, 'scheduled')), ...ON_MAIN_THREAD } };
}

/** Where a process runs the workflows of a role. Each process that sends metrics has a queue of its own. */
export function workflowQueueOf(config: WorkerConfig, role: Role): string {
  const { clusterId, writer } = config;
  if (isExecuting(config)) return taskQueueOf(clusterId, 'execution');
  return role === 'metrics' ? metricsQueueOf(clusterId, writer) : taskQueueOf(clusterId, role);
}

function isExecuting({ roles }: WorkerConfig): boolean {
  return roles.includes('execution');
}

/** In production the bundle was made by the build; from a checkout it is made now. */
async function workflowsOf(
  config: WorkerConfig,
  which: keyof typeof BUNDLES,
  failureConverterPath?: string,
): Promise<RoleWorkflows> {
  const built = config.workflowBundle ?? fileURLToPath(new URL(`../${BUNDLES[which]}`, import.meta.url));
  const workerDeploymentOptions = releaseOf(config.clusterId);
  if (config.workflowBundle || existsSync(built)) {
    if (failureConverterPath !== undefined) await assertDiscreet(built);
    return { workerDeploymentOptions, workflowBundle: { codePath: built } };
  }
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  const pathOf = (name: string) => fileURLToPath(new URL(`../workflows/${name}.${extension}`, import.meta.url));
  const { payloadConverterPath } = dataConverter;
  const logger = new DefaultLogger('WARN');
  return {
    workerDeploymentOptions,
    workflowBundle: await bundleWorkflowCode({
      workflowsPath: pathOf(which),
      workflowInterceptorModules: [pathOf('interceptors')],
      logger,
      ...(payloadConverterPath && { payloadConverterPath }),
      ...(failureConverterPath !== undefined && { failureConverterPath }),
    }),
  };
}

async function assertDiscreet(bundle: string): Promise<void> {
  if ((await readFile(bundle, 'utf8')).includes(FAILURE_CONVERTER)) return;
  throw new ConnectorError('CONFIG_INVALID', 'The bundle of BYOC_WORKFLOW_BUNDLE was made for BYOC_PAYLOAD_CODEC=off.');
}

/** As the bundler names the module. */
const FAILURE_CONVERTER = 'client/data-converter/failure-converter';
