import type { SecureContextOptions, TLSSocket } from 'node:tls';
import { Agent, buildConnector } from 'undici';
import type { TlsSource } from './context.ts';
import { tlsContextOf } from './context.ts';
import type { TlsMaterial } from './material.ts';

/** Connections to one part that verify the server. They follow the files of their TLS context: one pool after the other. */
export interface VerifyingAgents {
  /**
   * To be asked for before each request.
   * @throws {TlsFilesError} where the files cannot be used and never could
   */
  current(): Promise<Agent>;
  /** What is on its way comes to its end. */
  close(): Promise<void>;
  /** What is on its way fails. */
  destroy(): Promise<void>;
}

/** Whoever asked for an agent just before the files changed has begun its request by then. */
const CLOSE_AFTER_MS = 5_000;

export interface AgentOptions extends Pick<Agent.Options, 'connections' | 'maxResponseSize' | 'keepAliveTimeout'> {
  readonly connectTimeoutMs?: number;
}

/** What makes undici's connections, so that each one's certificate is seen. */
export function verifyingConnector(
  material: SecureContextOptions & { readonly servername?: string },
  options: { readonly timeoutMs?: number; readonly onConnected: (socket: TLSSocket) => void },
): buildConnector.connector {
  const { timeoutMs, onConnected } = options;
  const connect = buildConnector({
    ...material,
    minVersion: 'TLSv1.2', // whatever Node was told
    rejectUnauthorized: true,
    allowH2: false,
    ...(timeoutMs !== undefined && { timeout: timeoutMs }),
  });
  return (target, done) =>
    connect(target, (...[error, socket]) => {
      if (error) return done(error, null);
      if (target.protocol === 'https:') onConnected(socket as TLSSocket);
      done(null, socket);
    });
}

export function verifyingAgents(source: TlsSource | undefined, options: AgentOptions = {}): VerifyingAgents {
  const tls = tlsContextOf(source);
  const { connectTimeoutMs, ...agentOptions } = options;
  let agent: Agent | undefined;
  let material: TlsMaterial | undefined;
  const before = new Set<Agent>();

  function agentFor(found: TlsMaterial): Agent {
    const connect = verifyingConnector(found, {
      ...(connectTimeoutMs !== undefined && { timeoutMs: connectTimeoutMs }),
      onConnected: (socket) => tls.onConnected(socket),
    });
    return new Agent({ ...agentOptions, allowH2: false, connect });
  }

  async function all(how: 'close' | 'destroy'): Promise<void> {
    await Promise.all([...before, ...(agent ? [agent] : [])].map((one) => ended(one, how)));
  }

  return {
    async current() {
      const found = await tls.current();
      if (agent && found === material) return agent;
      if (agent) {
        const old = agent;
        before.add(old);
        setTimeout(() => {
          before.delete(old);
          void ended(old, 'close');
        }, CLOSE_AFTER_MS).unref();
      }
      [agent, material] = [agentFor(found), found];
      return agent;
    },
    close: () => all('close'),
    destroy: () => all('destroy'),
  };
}

/** A second end would be an error. */
async function ended(agent: Agent, how: 'close' | 'destroy'): Promise<void> {
  if (agent.destroyed || (how === 'close' && agent.closed)) return;
  await agent[how]();
}
