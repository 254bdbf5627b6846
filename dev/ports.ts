import { createServer, type Server } from 'node:net';

const handedOut = new Set<number>();

/**
 * Free TCP ports on 127.0.0.1, each given once per process. Between our asking and a program's binding another process
 * may take one; whoever starts the program tries again with new ones then.
 */
export async function freePorts<const Name extends string>(names: readonly Name[]): Promise<Record<Name, number>> {
  const servers: Server[] = [];
  const ports: [Name, number][] = [];
  try {
    for (const name of names) {
      let port: number;
      do {
        const server = createServer();
        servers.push(server);
        port = await listen(server);
      } while (handedOut.has(port));
      handedOut.add(port);
      ports.push([name, port]);
    }
  } finally {
    await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  }
  return Object.fromEntries(ports) as Record<Name, number>; // exactly one entry a name, by the loop above
}

function listen(server: Server): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      resolve(typeof address === 'object' && address !== null ? address.port : 0);
    });
  });
}
