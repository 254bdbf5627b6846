import { mkdir, readFile } from 'node:fs/promises';
import { extname, join } from 'node:path';

import { Connection } from '@temporalio/client';

import { SEARCH_ATTRIBUTES } from '../../domain/names.ts';
import type { Host } from '../host.ts';

export interface TemporalService {
  /** `host:port` of the gRPC frontend, over TLS; clients need a certificate. */
  readonly address: string;
  /** PEM file of the authority that its certificate is verified against. */
  readonly caFile: string;
  /** PEM files of a client certificate and its key. */
  readonly certFile: string;
  readonly keyFile: string;
  readonly uiUrl: string;
  readonly namespace: string;
  /** Path of the `temporal` command. */
  readonly bin: string;
}

const NAMESPACE = 'default';

/**
 * Starts Temporal's development server, which keeps its state in memory unless `persist` is set, and TLS before it: it has
 * none itself.
 */
export async function startTemporal(host: Host, persist: boolean): Promise<TemporalService> {
  const bin = await host.find('temporal');
  const folder = host.folderOf('temporal');
  await mkdir(folder, { recursive: true });
  const ports = await host.withPorts(['grpc', 'ui', 'http', 'metrics'], ({ grpc, ui, http, metrics }) =>
    host.start({
      name: 'temporal',
      args: [
        ...['server', 'start-dev', '--disable-config-file', '--disable-config-env', '--log-level', 'warn'],
        ...['--ip', '127.0.0.1', '--port', `${grpc}`, '--ui-port', `${ui}`],
        ...['--http-port', `${http}`, '--metrics-port', `${metrics}`],
        ...(persist ? ['--db-filename', join(folder, 'temporal.db')] : []),
        ...Object.values(SEARCH_ATTRIBUTES).flatMap((name) => ['--search-attribute', `${name}=Keyword`]),
        // A client that is also the worker gets the first workflow task, and a worker its next activity, at once.
        ...['--dynamic-config-value', 'system.enableEagerWorkflowStart=true'],
        ...['--dynamic-config-value', 'system.enableActivityEagerExecution=true'],
      ],
      healthy: () => hasSearchAttributes({ address: `127.0.0.1:${grpc}` }),
    }),
  );
  const address = await startTls(host, ports.grpc);
  return { ...address, uiUrl: `http://127.0.0.1:${ports.ui}`, namespace: NAMESPACE, bin };
}

type Address = Pick<TemporalService, 'address' | 'caFile' | 'certFile' | 'keyFile'>;

/** In a process of its own: what others do in ours would hold up every call. */
async function startTls(host: Host, target: number): Promise<Address> {
  const entry = join(import.meta.dirname, '..', 'tls-proxy', `main${extname(import.meta.filename)}`);
  const [server, client] = [await host.tls.issue('temporal', 'server'), await host.tls.issue('client', 'client')];
  const { caFile } = host.tls;
  const files = { caFile, certFile: client.cert, keyFile: client.key };
  const { tls } = await host.withPorts(['tls'], (ports) =>
    host.start({
      name: 'temporal-tls',
      args: [entry],
      env: {
        PORT: `${ports.tls}`,
        TARGET_PORT: `${target}`,
        TLS_CERT: server.cert,
        TLS_KEY: server.key,
        TLS_CLIENT_CA: caFile,
        ALPN: 'h2', // what gRPC's clients insist on
      },
      healthy: () => hasSearchAttributes({ address: addressOf(ports.tls), ...files }),
    }),
  );
  return { address: addressOf(tls), ...files };
}

/** By name: gRPC for Node warns of names in TLS that are IP addresses. */
function addressOf(port: number): string {
  return `localhost:${port}`;
}

/** Whether the server is of use: the namespace is there with our search attributes, a moment after it listens. */
export async function hasSearchAttributes(at: { readonly address: string } | Address): Promise<boolean> {
  const tls = 'caFile' in at && (await tlsOf(at));
  const connection = await Connection.connect({ address: at.address, connectTimeout: 1_000, ...(tls && { tls }) });
  try {
    const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace: NAMESPACE });
    return Object.values(SEARCH_ATTRIBUTES).every((name) => Object.hasOwn(customAttributes ?? {}, name));
  } finally {
    await connection.close();
  }
}

/** As connections to Temporal take it. */
export async function tlsOf({ caFile, certFile, keyFile }: Omit<Address, 'address'>) {
  const [ca, crt, key] = await Promise.all([readFile(caFile), readFile(certFile), readFile(keyFile)]);
  return { serverRootCACertificate: ca, clientCertPair: { crt, key } };
}
