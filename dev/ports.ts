import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

import { ConnectorError } from '../domain/errors.ts';

/** Below the ranges from which systems take ports for outgoing connections: those come and go all the time. */
const LOWEST = 20_000;
const HIGHEST = 32_000;
const ATTEMPTS = 100;

const handedOut = new Set<number>();

/**
 * Free TCP ports on 127.0.0.1, each given once per process. Between our asking and a program's binding another process
 * may take one; whoever starts the program tries again with new ones then.
 */
export async function freePorts<const Name extends string>(names: readonly Name[]): Promise<Record<Name, number>> {
  const ports: [Name, number][] = [];
  for (const name of names) ports.push([name, await freePort()]);
  return Object.fromEntries(ports) as Record<Name, number>; // exactly one entry a name, by the loop above
}

async function freePort(): Promise<number> {
  for (let tries = 0; tries < ATTEMPTS; tries += 1) {
    const port = randomInt(LOWEST, HIGHEST);
    if (handedOut.has(port) || !(await isFree(port))) continue;
    handedOut.add(port);
    return port;
  }
  throw new ConnectorError('PART_UNAVAILABLE', `No free port of 127.0.0.1 between ${LOWEST} and ${HIGHEST} was found.`);
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
