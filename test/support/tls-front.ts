import { readFile } from 'node:fs/promises';
import type { TLSSocket } from 'node:tls';
import type { TlsProxy, TlsProxyOptions } from '../../dev/tls-proxy/proxy.ts';
import { startTlsProxy } from '../../dev/tls-proxy/proxy.ts';

/** TLS of a test's own before a real server: certificates may be anything, and who came is known. */
export class TlsFront {
  /** Connections that were accepted, by the serial number of the client's certificate; empty for those without one. */
  readonly accepted: string[];
  readonly #proxy: TlsProxy;
  readonly #open: Map<TLSSocket, string>;

  private constructor(proxy: TlsProxy, accepted: string[], open: Map<TLSSocket, string>) {
    this.#proxy = proxy;
    this.accepted = accepted;
    this.#open = open;
  }

  /** @param server https address of the real server, or `host:port`, with the file of its authority */
  static async start(
    server: {
      readonly address: string;
      readonly caFile: string;
      readonly certFile?: string;
      readonly keyFile?: string;
    },
    options: Pick<TlsProxyOptions, 'cert' | 'key' | 'clientCa' | 'alpn'>,
  ): Promise<TlsFront> {
    const read = (path?: string) => (path === undefined ? undefined : readFile(path));
    const [ca, cert, key] = await Promise.all([server.caFile, server.certFile, server.keyFile].map(read));
    const port = Number(/:(\d+)/.exec(server.address.replace('https://', ''))?.[1]);
    const accepted: string[] = [];
    const open = new Map<TLSSocket, string>();
    const proxy = await startTlsProxy({
      ...options,
      port: 0,
      target: { port, ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) },
      onConnection(socket) {
        const serial = socket.getPeerX509Certificate()?.serialNumber ?? '';
        accepted.push(serial);
        open.set(socket, serial);
        socket.once('close', () => open.delete(socket));
      },
    });
    return new TlsFront(proxy, accepted, open);
  }

  get port(): number {
    return this.#proxy.port;
  }

  setCertificates(...args: Parameters<TlsProxy['setCertificates']>): void {
    this.#proxy.setCertificates(...args);
  }

  /** Breaks the connections that were made with a certificate. */
  drop(serial: string): void {
    for (const [socket, one] of this.#open) if (one === serial) socket.destroy();
  }

  close(): Promise<void> {
    return this.#proxy.close();
  }
}
