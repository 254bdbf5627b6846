import { request } from 'node:https';

export interface HttpsOptions {
  /** PEM of the authority that the server's certificate is verified against. */
  readonly ca: string;
  /** Sent as a bearer token, which is how both Kubernetes and Vault take theirs. */
  readonly token?: string;
  readonly timeoutMs?: number;
  /** Has Vault wrap its answer, for as long as this says. */
  readonly wrapTtl?: string;
}

export interface HttpsAnswer {
  readonly ok: boolean;
  readonly status: number;
  readonly text: string;
}

const TIMEOUT_MS = 5_000;

/** GET from a server with a certificate authority of its own, on a connection of its own. */
export function get(url: string, options: HttpsOptions): Promise<HttpsAnswer> {
  return send('GET', url, options);
}

/** POST of a JSON document. */
export function post(url: string, body: unknown, options: HttpsOptions): Promise<HttpsAnswer> {
  return send('POST', url, options, JSON.stringify(body));
}

/** Any other request. */
export function send(
  method: string,
  url: string,
  { ca, token, timeoutMs = TIMEOUT_MS, wrapTtl }: HttpsOptions,
  body?: string,
): Promise<HttpsAnswer> {
  const headers = {
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    ...(wrapTtl === undefined ? {} : { 'x-vault-wrap-ttl': wrapTtl }),
    ...(body === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
  };
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { method, ca, headers, agent: false, timeout: timeoutMs }, (incoming) => {
      let text = '';
      incoming.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      incoming.on('error', reject);
      incoming.on('end', () => {
        const status = incoming.statusCode ?? 0;
        resolve({ ok: status >= 200 && status < 300, status, text });
      });
    });
    outgoing.on('timeout', () => outgoing.destroy(new Error(`no answer from ${url} in ${timeoutMs / 1000} s`)));
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}
