/** `node bundle-workflows.ts FILE [encrypted]`: bundles the workflows once for all workers that a test run starts. */
import { rename, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { bundleWorkflowCode, DefaultLogger } from '@temporalio/worker';
import { dataConverter, failureConverterPath } from '../../client/data-converter/index.ts';

const [file = '', encrypted] = process.argv.slice(2);
const pathOf = (name: string) => fileURLToPath(new URL(`../../workflows/${name}.ts`, import.meta.url));
const { payloadConverterPath } = dataConverter;
const logger = new DefaultLogger('WARN');
const { code } = await bundleWorkflowCode({
  workflowsPath: pathOf('index'),
  workflowInterceptorModules: [pathOf('interceptors')],
  logger,
  ...(payloadConverterPath && { payloadConverterPath }),
  ...(encrypted && { failureConverterPath }),
});
// Whole or not at all: another test file may look for it at any time.
await writeFile(`${file}.${process.pid}`, code);
await rename(`${file}.${process.pid}`, file);
