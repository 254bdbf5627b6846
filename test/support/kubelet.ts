import { readFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { sharedServices } from './stack.ts';

/** What a pod has written, or had written before it was started again. */
export type Logs = (pod: string, previous: boolean) => string;

/** A kubelet as far as logs go: what the API server asks on behalf of whoever reads a pod's log. */
export async function startKubelet(logs: Logs): Promise<{ port: number; stop: () => void }> {
  const { kubernetes } = await sharedServices();
  const folder = dirname(kubernetes.caFile);
  const [cert, key] = await Promise.all([readFile(kubernetes.caFile), readFile(join(folder, 'apiserver.key'))]);
  const server = createServer({ cert, key }, (request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '', 'https://kubelet');
    const [, what, , pod = ''] = pathname.split('/');
    if (what !== 'containerLogs') return void response.writeHead(404).end();
    const lines = logs(pod, searchParams.get('previous') === 'true').split('\n');
    const tail = Number(searchParams.get('tailLines') ?? lines.length);
    response.end(`${lines.slice(-tail).join('\n')}\n`);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo; // it listens on a port
  return { port, stop: () => void server.close().closeAllConnections() };
}
