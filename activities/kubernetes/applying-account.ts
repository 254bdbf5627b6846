import { z } from 'zod';
import { ConnectorError } from '../../domain/errors.ts';
import { ApiStatusError } from './api-status-error.ts';
import type { KubeAccess } from './credentials.ts';
import { toJsonBody } from './json-body.ts';
import type { KubeApi } from './kube-api.ts';

/**
 * The account that packages are planned and applied with. It is another one than the connector's own, and has no rights
 * where the connector lives: so no package, whatever it says and whoever approved it, reaches the freeze, the claims or the
 * keys. No pod runs as it. Its token is asked for when it is needed and lives for minutes (TokenRequest,
 * https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-request-v1/).
 */

/** A ServiceAccount. */
export interface ServiceAccountName {
  readonly namespace: string;
  readonly name: string;
}

export interface ApplyingAccountOptions {
  /** The connector's own account, which may create tokens of this one account and of no other. */
  readonly api: Pick<KubeApi, 'write'>;
  /** How the API server is reached; of its credentials nothing is taken. */
  readonly base: KubeAccess;
  readonly account: ServiceAccountName;
  /** Told of each token before it is used; a rejection keeps it from being used. */
  readonly onIssued: (ttlSeconds: number) => Promise<void>;
  /** Told when there is no new token. */
  readonly onTrouble: (error: unknown) => void;
  /** Milliseconds of a clock that does not go back. */
  readonly now?: () => number;
}

/** The shortest that an API server gives. */
export const TOKEN_SECONDS = 600;
/** Of its life, after which it is asked for anew: half of it is left for an API server that gives none. */
const RENEW_AFTER = 0.5;
const RETRY_AFTER_MS = 5_000;
const RENEWED_WITHIN_MS = 1_000;

const answerSchema = z.object({
  spec: z.object({ expirationSeconds: z.int().min(1) }),
  status: z.object({ token: z.string().min(1) }),
});

/** A token and when it ends, by our own clock: the server's may go differently. */
interface Token {
  readonly value: string;
  readonly issuedAt: number;
  readonly lifeMs: number;
}

/**
 * Asking for its credentials throws KUBERNETES_UNAVAILABLE, also where there is no such account (yet), and
 * KUBERNETES_FORBIDDEN where its tokens may not be made.
 */
export function applyingAccess(options: ApplyingAccountOptions): KubeAccess {
  const { base, onTrouble, now = () => performance.now() } = options;
  let token: Token | undefined;
  let asking: Promise<Token> | undefined;
  let notBefore = -Infinity;

  /** One at a time, however many requests wait for it. */
  const ask = () => (asking ??= requestToken(options, now).finally(() => (asking = undefined)));
  const ageOf = ({ issuedAt, lifeMs }: Token) => (now() - issuedAt) / lifeMs;

  async function current(): Promise<Token> {
    const held = token;
    if (held && (ageOf(held) < RENEW_AFTER || (ageOf(held) < 1 && now() < notBefore))) return held;
    try {
      return (token = await ask());
    } catch (error) {
      onTrouble(error);
      if (!held || ageOf(held) >= 1) throw error;
      notBefore = now() + RETRY_AFTER_MS;
      return held;
    }
  }

  return {
    getCurrentCluster: () => base.getCurrentCluster(),
    async applyToHTTPSOptions(given) {
      const reached: Parameters<KubeAccess['applyToHTTPSOptions']>[0] = {};
      const [{ value }] = await Promise.all([current(), base.applyToHTTPSOptions(reached)]);
      const { ca, servername } = reached;
      Object.assign(given, { ...(ca && { ca }), ...(servername && { servername }) });
      given.headers = { Authorization: `Bearer ${value}` };
    },
    // Of many requests that are refused at a time the first asks for another token, and the others take that one.
    onRefused() {
      if (token && now() - token.issuedAt > RENEWED_WITHIN_MS) token = undefined;
    },
  };
}

/** Changes nothing in the cluster; the API server makes a token and keeps none. */
async function requestToken({ api, account, onIssued }: ApplyingAccountOptions, now: () => number): Promise<Token> {
  const { namespace, name } = account;
  const issuedAt = now();
  const request = {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenRequest',
    spec: { expirationSeconds: TOKEN_SECONDS },
  };
  const path = `/api/v1/namespaces/${namespace}/serviceaccounts/${name}/token`;
  const call = { method: 'POST', path, query: {}, contentType: 'application/json', body: toJsonBody(request) } as const;
  const answer = answerSchema.safeParse(
    await api.write(call).catch((error: unknown) => {
      if (!(error instanceof ApiStatusError)) throw error;
      if (!error.isNotFound) throw error.toConnectorError('KUBERNETES_UNAVAILABLE');
      const missing = `There is no ServiceAccount ${namespace}/${name} to apply packages with.`;
      throw new ConnectorError('KUBERNETES_UNAVAILABLE', missing, { cause: error });
    }),
  );
  // What it answered instead is not told: a token may be in it.
  if (!answer.success) throw new ConnectorError('KUBERNETES_UNAVAILABLE', 'The API server gives no token.');
  const { spec, status } = answer.data;
  await onIssued(spec.expirationSeconds);
  return { value: status.token, issuedAt, lifeMs: spec.expirationSeconds * 1_000 };
}
