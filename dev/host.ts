import { join } from 'node:path';

import { ConnectorError } from '../domain/errors.ts';
import type { PartName } from './parts.ts';
import { freePorts } from './ports.ts';
import { Program, untilHealthy } from './process.ts';
import { StackTls } from './stack-tls.ts';

const START_TIMEOUT_MS = 60_000;
const PORT_ATTEMPTS = 3;
const PORT_TAKEN = /address already in use|EADDRINUSE/i;

/** Servers of our own, which run on the Node that runs us. */
const OWN = ['control-plane', 'temporal-tls'] as const;

/** What a stack runs: installed programs, and what is our own. */
export type ServerName = PartName | (typeof OWN)[number];

/** How one server is started; started again, it gets the same command and therefore the same ports. */
export interface ServerSpec {
  readonly name: ServerName;
  readonly args: readonly string[];
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** Whether the server answers; a rejection means that it does not. */
  readonly healthy: () => Promise<boolean>;
  /** Is killed instead of asked to stop, because it takes long for nothing. */
  readonly stopByKill?: boolean;
  /** Files outside of the state folder that it leaves behind; paths without spaces. */
  readonly leftovers?: readonly string[];
}

/** A program could not start because another process had taken a port that was free a moment before. */
class PortTaken extends ConnectorError {
  constructor(detail: string) {
    super('PART_UNAVAILABLE', `A port was taken in the meantime. ${detail}`);
  }
}

interface Server {
  readonly spec: ServerSpec;
  program: Program;
}

/** Runs the servers of one stack and knows how to find them again. */
export class Host {
  readonly stateDir: string;
  readonly tls: StackTls;
  readonly signal: AbortSignal | undefined;
  readonly #find: (name: PartName) => Promise<string>;
  readonly #servers = new Map<ServerName, Server>();

  constructor(stateDir: string, find: (name: PartName) => Promise<string>, signal: AbortSignal | undefined) {
    this.stateDir = stateDir;
    this.tls = new StackTls(join(stateDir, 'tls'));
    this.#find = find;
    this.signal = signal;
  }

  /** The path of a program, installed first where it is missing. */
  find(name: PartName): Promise<string> {
    return this.#find(name);
  }

  /** Where a server keeps its data. */
  folderOf(name: string): string {
    return join(this.stateDir, name);
  }

  /** Starts a server and resolves when it is healthy. */
  async start(spec: ServerSpec): Promise<void> {
    const command = isOwn(spec.name) ? process.execPath : await this.find(spec.name);
    this.signal?.throwIfAborted();
    const program = new Program({
      name: spec.name,
      command,
      args: spec.args,
      ...(spec.cwd === undefined ? {} : { cwd: spec.cwd }),
      // Nothing of the user's environment reaches a server, and nothing that it writes "at home" reaches theirs.
      env: { PATH: '/usr/bin:/bin', HOME: this.stateDir, LANG: 'C.UTF-8', ...spec.env },
      logFile: join(this.stateDir, 'logs', `${spec.name}.log`),
      leftovers: spec.leftovers ?? [],
    });
    this.#servers.set(spec.name, { spec, program });
    try {
      await untilHealthy(program, spec.healthy, { timeoutMs: START_TIMEOUT_MS, signal: this.signal });
    } catch (error) {
      // Some print pages behind the line that matters, so all of the output is looked through.
      if (!program.running && PORT_TAKEN.test(program.output())) throw new PortTaken(program.describeEnd());
      throw error;
    }
  }

  /** Starts what `start` starts with free ports, with others when one of them was taken in the meantime. */
  async withPorts<const Name extends string>(
    names: readonly Name[],
    start: (ports: Record<Name, number>) => Promise<void>,
  ): Promise<Record<Name, number>> {
    for (let attempt = 1; ; attempt += 1) {
      const ports = await freePorts(names);
      try {
        await start(ports);
        return ports;
      } catch (error) {
        if (attempt === PORT_ATTEMPTS || !(error instanceof PortTaken)) throw error;
      }
    }
  }

  /** Names of the servers, in the order in which they were started. */
  get names(): ServerName[] {
    return [...this.#servers.keys()];
  }

  /** The process of a server, and whether it answers. */
  async check(name: ServerName): Promise<{ readonly pid: number | undefined; readonly healthy: boolean }> {
    const { spec, program } = this.#server(name);
    return { pid: program.pid, healthy: program.running && (await spec.healthy().catch(() => false)) };
  }

  /** Ends a server at once, as a crash would. */
  async kill(name: ServerName): Promise<void> {
    await this.#server(name).program.kill();
  }

  /** Stops a server that still runs and starts it again, with the same data and at the same address. */
  async restart(name: ServerName): Promise<void> {
    const server = this.#server(name);
    await end(server);
    await this.start(server.spec);
  }

  /** Stops all servers; etcd last, because the API server does not stop in order without it. */
  async stopAll(): Promise<void> {
    const later = [...this.#servers.values()].reverse();
    const isStore = ({ spec }: Server) => spec.name === 'etcd';
    await Promise.all(later.filter((server) => !isStore(server)).map(end));
    await Promise.all(later.filter(isStore).map(end));
  }

  #server(name: ServerName): Server {
    const server = this.#servers.get(name);
    if (!server) throw new ConnectorError('PART_UNAVAILABLE', `${name} does not run in this stack.`);
    return server;
  }
}

function isOwn(name: ServerName): name is (typeof OWN)[number] {
  return OWN.some((own) => own === name);
}

async function end({ spec, program }: Server): Promise<void> {
  await (spec.stopByKill ? program.kill() : program.stop());
}
