/** `node worker.ts QUEUE FILE`, with the settings of Temporal in the environment: a worker of somebody else; says `ready` on stdout when it works. */
import { fileURLToPath } from 'node:url';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { dataConverter } from '../../../client/data-converter/index.ts';
import { connectTemporal } from '../../../worker/temporal.ts';

const [taskQueue = '', file = ''] = process.argv.slice(2);
Runtime.install({ logger: new DefaultLogger('ERROR') });
const { connection, namespace } = await connectTemporal(process.env);
const workflowsPath = fileURLToPath(new URL(file, import.meta.url));
const worker = await Worker.create({ connection, namespace, taskQueue, workflowsPath, dataConverter });
process.stdout.write('ready\n');
await worker.run();
