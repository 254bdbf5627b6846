import { Agent, request } from 'undici';
import { z } from 'zod';
import { ConnectorError } from '../../domain/errors.ts';
import type { VaultSettings } from '../vault/vault.ts';
import type { TokenSource } from './channel.ts';

/** The role of Vault's identity engine whose tokens are for the control plane. */
const IDENTITY_ROLE = 'byoc-registration';

const loginSchema = z.object({ auth: z.object({ client_token: z.string() }) });
const tokenSchema = z.object({ data: z.object({ token: z.string(), ttl: z.number() }) });

/** Asks Vault's identity engine for a JWT, and for another one when half of its life is over. Throws VAULT_UNAVAILABLE. */
export function vaultTokens({ address, auth, ca, requestTimeoutMs = 5_000 }: VaultSettings): TokenSource {
  const dispatcher = new Agent({ connect: ca === undefined ? {} : { ca } });
  let held: { readonly token: string; readonly until: number } | undefined;

  async function call<T>(
    method: 'GET' | 'POST',
    path: string,
    schema: z.ZodType<T>,
    sent: { token?: string; body?: object },
  ): Promise<T> {
    try {
      const answer = await request(`${address}/v1/${path}`, {
        dispatcher,
        method,
        headers: { ...(sent.token !== undefined && { 'x-vault-token': sent.token }) },
        body: sent.body ? JSON.stringify(sent.body) : null,
        signal: AbortSignal.timeout(requestTimeoutMs),
      });
      return schema.parse(await answer.body.json());
    } catch {
      throw new ConnectorError('VAULT_UNAVAILABLE', `Asking ${path} gave nothing of use.`); // the cause may hold secrets
    }
  }
  const logIn = async () => {
    if (auth.method === 'token') return auth.token;
    const body = { role_id: auth.roleId, secret_id: auth.secretId };
    return (await call('POST', 'auth/approle/login', loginSchema, { body })).auth.client_token;
  };

  return {
    async token() {
      if (held && performance.now() < held.until) return held.token;
      const { data } = await call('GET', `identity/oidc/token/${IDENTITY_ROLE}`, tokenSchema, { token: await logIn() });
      held = { token: data.token, until: performance.now() + (data.ttl * 1_000) / 2 };
      return data.token;
    },
  };
}
