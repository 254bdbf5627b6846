import { fileURLToPath } from 'node:url';
import type { WorkerOptions } from '@temporalio/worker';
import { bundleWorkflowCode, DefaultLogger } from '@temporalio/worker';
import { dataConverter } from '../client/data-converter/index.ts';
import type { WorkerConfig } from './config.ts';

/** In production the bundle was made by the build; from a checkout it is made now. */
export async function workflowsOf(config: WorkerConfig): Promise<Pick<WorkerOptions, 'workflowBundle'>> {
  if (config.workflowBundle) return { workflowBundle: { codePath: config.workflowBundle } };
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  const pathOf = (name: string) => fileURLToPath(new URL(`../workflows/${name}.${extension}`, import.meta.url));
  const { payloadConverterPath } = dataConverter;
  const logger = new DefaultLogger('WARN');
  return {
    workflowBundle: await bundleWorkflowCode({
      workflowsPath: pathOf('index'),
      workflowInterceptorModules: [pathOf('interceptors')],
      logger,
      ...(payloadConverterPath && { payloadConverterPath }),
    }),
  };
}
