import { constants, createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import type { RequestListener, Server } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { Server as HttpsServer } from 'node:https';
import type { Socket } from 'node:net';
import type { TlsWatch } from '../../activities/tls/context.ts';
import { certificateFacts } from '../../activities/tls/material.ts';
import { ConnectorError } from '../../domain/errors.ts';
import type { ServerFiles } from './settings.ts';
import { networkOf } from './rate-limit.ts';

/** What bounds callers that are slow, many, or both; a call that is good takes far less. */
const LIMITS = {
  headersTimeout: 5_000,
  requestTimeout: 10_000,
  keepAliveTimeout: 5_000,
  connectionsCheckingInterval: 1_000,
  maxHeaderSize: 16 * 1024,
} as const;
const HANDSHAKE_TIMEOUT_MS = 5_000;
const MAX_CONNECTIONS = 256;
/** Of one network, so that whoever takes all they can leaves room for probes and for the control plane. */
const MAX_CONNECTIONS_EACH = 64;
const LOOK_EVERY_MS = 10_000;

export interface AgentServer {
  /** For fastify, which makes its server with the listener that it hands over. */
  make(listener: RequestListener): Server;
  /** Whether a connection was made under the certificates that count now. */
  isCurrent(socket: Socket): boolean;
  connections(): number;
  close(): void;
}

interface Material {
  readonly cert: string;
  readonly key: string;
  readonly ca?: string;
}

/** @throws {ConnectorError} CONFIG_INVALID where certificate, key or authority cannot be used */
export async function openAgentServer(files: ServerFiles | undefined, watch: TlsWatch): Promise<AgentServer> {
  const open = new Map<string, number>();
  let count = 0;
  let material = files && (await readMaterial(files));
  let server: Server | undefined;
  // Made anew with the certificates: who came before them proves who they are once more.
  let current = new WeakSet<Socket>();
  if (material) tellOf(material, watch);
  let trouble: string | undefined;

  const admit = (socket: Socket) => {
    const network = networkOf(socket.remoteAddress ?? '');
    const others = open.get(network) ?? 0;
    if (others >= MAX_CONNECTIONS_EACH) return void socket.destroy();
    open.set(network, others + 1);
    count += 1;
    socket.once('close', () => {
      count -= 1;
      const left = (open.get(network) ?? 1) - 1;
      if (left > 0) open.set(network, left);
      else open.delete(network);
    });
  };
  const look = async (tls: ServerFiles, https: HttpsServer) => {
    try {
      const found = await readMaterial(tls);
      if (trouble !== undefined) watch.onTrouble(undefined);
      trouble = undefined;
      if (found.cert === material?.cert && found.key === material.key && found.ca === material.ca) return;
      https.setSecureContext({ ...found, ...SECURE });
      material = found;
      current = new WeakSet();
      tellOf(found, watch);
    } catch (error) {
      const known = error as ConnectorError; // readMaterial throws nothing else
      if (known.detail !== trouble) watch.onTrouble(new Error(known.detail));
      trouble = known.detail;
    }
  };
  let looking: NodeJS.Timeout | undefined;

  return {
    make(listener) {
      if (material && files) {
        // Without a certificate a client may still ask for health; what it may do besides is decided call by call.
        const clients = material.ca === undefined ? {} : { requestCert: true, rejectUnauthorized: false };
        const tls = { ...material, ...SECURE, ...clients, handshakeTimeout: HANDSHAKE_TIMEOUT_MS };
        const https = createHttpsServer({ ...LIMITS, ...tls }, listener);
        https.on('secureConnection', (socket) => current.add(socket));
        looking = setInterval(() => void look(files, https), LOOK_EVERY_MS).unref();
        server = https;
      } else {
        server = createHttpServer(LIMITS, listener);
      }
      server.maxConnections = MAX_CONNECTIONS;
      server.on('connection', admit);
      return server;
    },
    isCurrent: (socket) => current.has(socket),
    connections: () => count,
    close() {
      clearInterval(looking);
      server?.closeAllConnections();
    },
  };
}

/** No resumption: a session would carry on what a certificate proved, also after its authority has changed. */
const SECURE = { minVersion: 'TLSv1.2', secureOptions: constants.SSL_OP_NO_TICKET } as const;

async function readMaterial({ certPath, keyPath, clientCaPath }: ServerFiles): Promise<Material> {
  try {
    const [cert, key, ca] = await Promise.all(
      [certPath, keyPath, clientCaPath].map((path) => (path === undefined ? '' : readFile(path, 'utf8'))),
    );
    if (cert === undefined || key === undefined) throw new Error('nothing was read');
    if (!new X509Certificate(cert).checkPrivateKey(createPrivateKey(key))) {
      throw new Error('the key is not that of the certificate');
    }
    if (ca) new X509Certificate(ca);
    return { cert, key, ...(ca && { ca }) };
  } catch (cause) {
    const detail = 'The certificate, the key or the authority of BYOC_AGENT_… cannot be used.';
    throw new ConnectorError('CONFIG_INVALID', detail, { cause });
  }
}

/** What is our own certificate elsewhere is the server's here. */
function tellOf({ cert, ca }: Material, watch: TlsWatch): void {
  for (const facts of certificateFacts({ cert, ...(ca !== undefined && { ca }) })) {
    watch.onCertificate(facts.kind === 'client' ? { ...facts, kind: 'server' } : facts);
  }
}

/** Why a server cannot listen there, for whoever chose the port. */
export function nothingListens(host: string, port: number, cause: unknown): string {
  const isTaken = (cause as NodeJS.ErrnoException).code === 'EADDRINUSE';
  return isTaken ? `Port ${port} of ${host} is in use already.` : `Nothing can listen on ${host} port ${port}.`;
}
