/** `node worker.ts ADDRESS NAMESPACE QUEUE FILE`: a worker of somebody else; says `ready` on stdout when it works. */
import { fileURLToPath } from 'node:url';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { dataConverter } from '../../../client/data-converter/index.ts';

const [address = '', namespace = '', taskQueue = '', file = ''] = process.argv.slice(2);
Runtime.install({ logger: new DefaultLogger('ERROR') });
const connection = await NativeConnection.connect({ address });
const workflowsPath = fileURLToPath(new URL(file, import.meta.url));
const worker = await Worker.create({ connection, namespace, taskQueue, workflowsPath, dataConverter });
process.stdout.write('ready\n');
await worker.run();
