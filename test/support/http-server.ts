import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { ServerOptions } from 'node:https';
import type { AddressInfo } from 'node:net';

/** A server of a test's own, for what a real part can't be made to say. */
export interface TestServer {
  readonly address: string;
  /** Requests that came in whole, in order. */
  readonly requests: TestRequest[];
  /** What it says from now on. */
  answer: Answer;
  close(): Promise<void>;
}

export interface TestRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
  readonly raw: IncomingMessage;
}

export type Answer = (request: TestRequest, response: ServerResponse) => void;

/** An answer with a status and no body. */
export function status(code: number, headers: Record<string, string> = {}): Answer {
  return (_, response) => response.writeHead(code, headers).end();
}

export function json(value: unknown): Answer {
  return (_, response) => response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}

/** @param tls served by HTTPS where it is given */
export async function startServer(answer: Answer, tls?: ServerOptions): Promise<TestServer> {
  const requests: TestRequest[] = [];
  const listener = (raw: IncomingMessage, response: ServerResponse) => {
    const chunks: Buffer[] = [];
    raw.on('data', (chunk: Buffer) => chunks.push(chunk));
    raw.on('end', () => {
      const { method = '', url: path = '', headers } = raw;
      const request = { method, path, headers, body: Buffer.concat(chunks), raw };
      requests.push(request);
      server.answer(request, response);
    });
  };
  const http = tls ? createTlsServer(tls, listener) : createServer(listener);
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  const { port } = http.address() as AddressInfo; // a TCP server has one
  const server: TestServer = {
    address: `${tls ? 'https' : 'http'}://127.0.0.1:${port}`,
    requests,
    answer,
    close: () =>
      new Promise((resolve) => {
        http.close(() => resolve());
        http.closeAllConnections();
      }),
  };
  return server;
}
