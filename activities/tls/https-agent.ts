import type { AgentOptions, RequestOptions } from 'node:https';
import { Agent } from 'node:https';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import type { TlsContext } from './context.ts';
import type { TlsMaterial } from './material.ts';

/**
 * Node's agent for clients that want one (the AWS SDK). New connections are made with what the TLS context says then; idle
 * ones that were made with something else are not used again.
 */
export class VerifyingHttpsAgent extends Agent {
  readonly #tls: TlsContext;
  #material: TlsMaterial | undefined;

  constructor(tls: TlsContext, options: AgentOptions) {
    super({ ...options, keepAlive: true, rejectUnauthorized: true });
    this.#tls = tls;
  }

  /** The name of a pool: Node's own has authority, certificate and key in it, so each material has a pool of its own. */
  override getName(options?: RequestOptions): string {
    return super.getName({ ...options, ...this.#now() });
  }

  override createConnection(
    options: RequestOptions,
    callback?: (error: Error | null, stream: Duplex) => void,
  ): Duplex | null | undefined {
    const socket = super.createConnection({ ...options, ...this.#now(), rejectUnauthorized: true }, callback);
    if (socket instanceof TLSSocket) socket.once('secureConnect', () => this.#tls.onConnected(socket));
    return socket;
  }

  #now(): TlsMaterial {
    const { latest } = this.#tls;
    if (this.#material !== latest) {
      this.#material = latest;
      for (const socket of Object.values(this.freeSockets).flat()) (socket as Socket | undefined)?.destroy();
    }
    return latest;
  }
}
