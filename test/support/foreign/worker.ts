/** `node worker.ts ADDRESS NAMESPACE QUEUE`: a worker of somebody else; says `ready` on stdout when it works. */
import { fileURLToPath } from 'node:url';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';

const [address = '', namespace = '', taskQueue = ''] = process.argv.slice(2);
Runtime.install({ logger: new DefaultLogger('ERROR') });
const connection = await NativeConnection.connect({ address });
const workflowsPath = fileURLToPath(new URL('./workflows.ts', import.meta.url));
const worker = await Worker.create({ connection, namespace, taskQueue, workflowsPath });
process.stdout.write('ready\n');
await worker.run();
