import { connect as connectTcp } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { connect as connectTls, createServer } from 'node:tls';
import type { SecureContextOptions, TLSSocket } from 'node:tls';

/** Authority, client certificate and key are PEM. */
export interface TlsTarget extends Pick<SecureContextOptions, 'ca' | 'cert' | 'key'> {
  readonly port: number;
}

export interface TlsProxyOptions {
  /** 0 takes any free one. */
  readonly port: number;
  /** Where the bytes go, on this machine: in clear, or over TLS where an authority is given. */
  readonly target: TlsTarget;
  readonly cert: string;
  readonly key: string;
  /** PEM of the authority that clients need a certificate of; none is asked of them where it is left out. */
  readonly clientCa?: string | undefined;
  /** Application protocols that are offered, best first; none where they are left out. */
  readonly alpn?: readonly string[];
  /** Is told of each connection that was accepted. */
  readonly onConnection?: (socket: TLSSocket) => void;
  /** Is told of each that was not. */
  readonly onRefused?: (error: Error) => void;
}

export interface TlsProxy {
  readonly port: number;
  /** For connections from now on. */
  setCertificates(certificates: Pick<TlsProxyOptions, 'cert' | 'key' | 'clientCa'>): void;
  /** Ends all connections. */
  close(): Promise<void>;
}

const MIN_VERSION = 'TLSv1.2';

/** Serves TLS on 127.0.0.1 before a server that has none, or other certificates. */
export async function startTlsProxy(options: TlsProxyOptions): Promise<TlsProxy> {
  const { target, alpn, onConnection, onRefused } = options;
  const open = new Set<Socket>();
  const server = createServer(
    {
      ...contextOf(options),
      ...(options.clientCa !== undefined && { requestCert: true, rejectUnauthorized: true }),
      ...(alpn && { ALPNProtocols: [...alpn] }),
      noDelay: true,
    },
    (socket) => {
      onConnection?.(socket);
      pass(socket, target, alpn);
    },
  );
  server.on('connection', (socket: Socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
  });
  server.on('tlsClientError', (error) => onRefused?.(error));
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, '127.0.0.1', resolve);
  });
  return {
    port: (server.address() as AddressInfo).port, // it listens on a port
    setCertificates: (certificates) => server.setSecureContext(contextOf(certificates)),
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of open) socket.destroy();
      await closed;
    },
  };
}

function contextOf({ cert, key, clientCa }: Pick<TlsProxyOptions, 'cert' | 'key' | 'clientCa'>): SecureContextOptions {
  return { cert, key, minVersion: MIN_VERSION, ...(clientCa !== undefined && { ca: clientCa }) };
}

/** Either side that ends, ends the other. */
function pass(client: TLSSocket, target: TlsTarget, alpn: readonly string[] | undefined): void {
  const address = { ...target, host: '127.0.0.1', noDelay: true };
  const upstream =
    target.ca === undefined
      ? connectTcp(address)
      : connectTls({ ...address, ...(alpn && { ALPNProtocols: [...alpn] }) });
  for (const [one, other] of [
    [client, upstream],
    [upstream, client],
  ] as const) {
    one.on('error', () => other.destroy());
    one.on('close', () => other.destroy());
    one.pipe(other);
  }
}
