import { decodeJwt } from 'jose';
import { z } from 'zod';
import { createRequests, member, VaultRequestError } from '../../activities/vault/requests.ts';
import type { VaultRequests } from '../../activities/vault/requests.ts';
import { secretIdOf } from '../../activities/vault/secret-id.ts';
import type { VaultSettings } from '../../activities/vault/vault.ts';
import type { Role } from '../../domain/names.ts';
import { identityRoleOf, KV_MOUNT, VAULT_LOGINS, VAULT_ROLES } from '../../domain/vault-setup.ts';
import type { VaultRole } from '../../domain/vault-setup.ts';
import { counted, found, ok } from './check.ts';
import type { Check, CheckGroup, Told } from './check.ts';
import type { Evidence } from './evidence.ts';
import { aboutFiles, materialOf, noAnswer, shown } from './evidence.ts';
import { jsonOf, probe } from './probe.ts';

export interface VaultOptions {
  readonly clusterId: string;
  /** The login of each role that this worker runs. */
  readonly logins: ReadonlyMap<Role, VaultSettings>;
  readonly evidence: Evidence;
}

/** A token of a login that lives for less is renewed all the time, and lost with each short outage. */
const SHORT_TTL_S = 60;
const CODES = { away: 'VAULT_UNREACHABLE', certificate: 'VAULT_CERTIFICATE' } as const;

/** What no role of the connector may read, whatever it is: what others could be had by. */
const FOREIGN = [
  'sys/mounts',
  'sys/policies/acl?list=1',
  'auth/approle/role?list=1',
  `${KV_MOUNT}/metadata/byoc?list=1`,
];

/** https://developer.hashicorp.com/vault/api-docs/system/health */
const healthSchema = z.object({ initialized: z.boolean(), sealed: z.boolean(), version: z.string().max(64) });
const selfSchema = z.object({
  data: z.object({
    policies: z.array(z.string()),
    identity_policies: z.array(z.string()).nullish(),
    renewable: z.boolean().default(false), // a token of root has none
    ttl: z.number(),
  }),
});

/**
 * Vault as each role meets it: it logs in as the role does, asks for what the role needs and for what it must not have,
 * reads only, and gives its token back.
 */
export function vaultChecks({ clusterId, logins, evidence }: VaultOptions): CheckGroup {
  const [first] = logins.values();
  if (!first) return { checks: [] };
  const opened: { readonly requests: VaultRequests; readonly token: string | undefined }[] = [];

  const roleChecks = ([role, settings]: [Role, VaultSettings]): Check[] => {
    const requests = createRequests(settings);
    let token = '';
    return [
      {
        name: `vault.login.${role}`,
        needs: ['vault'],
        async run() {
          const { told, token: given } = await logIn(settings, requests);
          token = given ?? '';
          opened.push({ requests, token: settings.auth.method === 'approle' ? given : undefined });
          if (!given) return told;
          return [...told, ...(await judgeToken(requests, given, settings.auth.method))];
        },
      },
      {
        name: `vault.rights.${role}`,
        needs: [`vault.login.${role}`],
        async run() {
          if (token === '') return [ok('Not asked: the wrapping token is left for the worker.')];
          const may = (path: string) => mayRead(requests, token, path);
          const rights = await judgeRights({ clusterId, role, may });
          return [...rights, ...(await judgeWrites(requests, token, clusterId))];
        },
      },
      ...(VAULT_ROLES[role].audience === undefined
        ? []
        : [
            {
              name: `vault.jwt.${role}`,
              needs: [`vault.login.${role}`],
              async run() {
                if (token === '') return [ok('Not asked: the wrapping token is left for the worker.')];
                return [await judgeJwt(requests, token, clusterId, role)];
              },
            },
          ]),
    ];
  };

  return {
    checks: [
      {
        name: 'vault',
        run: async (signal) => [await judgeServer(first, evidence, signal)],
      },
      ...[...logins].flatMap(roleChecks),
    ],
    async close() {
      for (const { requests, token } of opened) {
        if (token) await requests.post('auth/token/revoke-self', {}, token).catch(() => undefined); // it runs out
        await requests.close();
      }
    },
  };
}

async function judgeServer({ address, tls }: VaultSettings, evidence: Evidence, signal: AbortSignal): Promise<Told> {
  const where = `Vault at ${shown(address)}`;
  const material = await materialOf(tls);
  if (material instanceof Error) return found('VAULT_CERTIFICATE', aboutFiles(where, material));
  const url = `${address.replace(/\/+$/, '')}/v1/sys/health?standbyok=true&perfstandbyok=true`;
  const probed = await probe(url, { signal, tls: material });
  if ('trouble' in probed) return noAnswer(probed.trouble, CODES, where);
  evidence.take('vault', probed.answer);
  const health = healthSchema.safeParse(jsonOf(probed.answer.text)).data;
  if (!health)
    return found('VAULT_NOT_VAULT', `What answers at ${shown(address)} is no Vault (${probed.answer.status}).`);
  if (!health.initialized) return found('VAULT_SEALED', `${where} is not initialised.`);
  if (health.sealed) return found('VAULT_SEALED', `${where} is sealed.`);
  return ok(`${where} answers, unsealed (${health.version}).`);
}

async function logIn(
  { auth }: VaultSettings,
  requests: VaultRequests,
): Promise<{ readonly told: readonly Told[]; readonly token?: string }> {
  if (auth.method === 'token') {
    return { told: [found('VAULT_TOKEN_STATIC', 'VAULT_TOKEN is used instead of a login.')], token: auth.token };
  }
  const source = auth.secretId;
  let secretId: string;
  try {
    secretId = await secretIdOf({ source, requests })();
  } catch {
    return {
      told: [found('VAULT_SECRET_ID_UNREADABLE', 'The file with the secret_id cannot be read, or holds none.')],
    };
  }
  // Unwrapped once, it would be lost to the worker.
  if (auth.wrappedAt !== undefined) return { told: [await judgeWrapped(requests, secretId, auth.wrappedAt)] };
  try {
    const answer = await requests.post('auth/approle/login', { role_id: auth.roleId, secret_id: secretId });
    const token = member(member(answer, 'auth'), 'client_token');
    if (typeof token === 'string') return { told: [], token };
    return { told: [found('VAULT_NOT_VAULT', 'What answered the login is no token.')] };
  } catch (error) {
    if (!(error instanceof VaultRequestError)) throw error;
    return {
      told: [
        error.isRefusal
          ? found('VAULT_LOGIN_REFUSED', `Vault refuses the role_id or the secret_id (${error.status}).`)
          : found('VAULT_UNREACHABLE', `The login got no answer: ${error.said}.`),
      ],
    };
  }
}

async function judgeWrapped(requests: VaultRequests, token: string, wrappedAt: string): Promise<Told> {
  try {
    const answer = await requests.post('sys/wrapping/lookup', { token });
    return member(member(answer, 'data'), 'creation_path') === wrappedAt
      ? ok('A wrapping token is there, was made where it should, and is not used yet; it is left for the worker.')
      : found(
          'VAULT_WRAPPED_ELSEWHERE',
          'The wrapping token was made at another path than VAULT_SECRET_ID_WRAPPED_AT.',
        );
  } catch (error) {
    if (!(error instanceof VaultRequestError && error.isRefusal)) throw error;
    return found('VAULT_WRAPPED_USED', 'The wrapping token was used, or has expired.');
  }
}

async function judgeToken(requests: VaultRequests, token: string, method: 'token' | 'approle'): Promise<Told[]> {
  let answer: unknown;
  try {
    answer = await requests.get('auth/token/lookup-self', token);
  } catch (error) {
    if (!(error instanceof VaultRequestError && error.isRefusal)) throw error;
    return method === 'token'
      ? [found('VAULT_LOGIN_REFUSED', 'Vault does not know VAULT_TOKEN: it has expired or was revoked.')]
      : [found('VAULT_RIGHT_MISSING', 'It may not look up its own token.')];
  }
  const self = selfSchema.safeParse(answer).data?.data;
  if (!self) return [found('VAULT_NOT_VAULT', 'What answered is no token.')];
  const policies = [...self.policies, ...(self.identity_policies ?? [])];
  if (policies.includes('root'))
    return [found('VAULT_TOKEN_POWERFUL', 'The token is that of root: it may do everything.')];
  const says = `logged in for ${self.ttl} s${self.renewable ? '' : ', not renewable'}, with ${policies.join(', ')}`;
  // A static token is told of already.
  if (method === 'token') return [];
  if (self.ttl < SHORT_TTL_S || !self.renewable) return [found('VAULT_TOKEN_SHORT', `It ${says}.`)];
  return [ok(`It ${says}.`)];
}

interface RightsOptions {
  readonly clusterId: string;
  readonly role: Role;
  may(path: string): Promise<boolean>;
}

/** By the table that `byoc vault setup` is made from: its own paths answer, those of all others are refused. */
async function judgeRights({ clusterId, role, may }: RightsOptions): Promise<Told[]> {
  const wanted = readable(role, clusterId);
  const others = VAULT_LOGINS.filter((other) => other !== role);
  const forbidden = [
    ...others.flatMap((other) => readable(other, clusterId)).filter((path) => !wanted.includes(path)),
    ...others.flatMap((other) => (VAULT_ROLES[other].audience ? [`identity/oidc/token/${identityRoleOf(other)}`] : [])),
    // Another cluster's, which need not exist to be refused.
    ...readable('execution', `not-${clusterId}`.slice(0, 63)),
    ...FOREIGN,
  ];
  const ask = (paths: readonly string[]) =>
    Promise.all(paths.map(async (path) => ({ path, allowed: await may(path) })));
  const [missing, excess] = [
    (await ask(wanted)).filter(({ allowed }) => !allowed),
    (await ask([...new Set(forbidden)])).filter(({ allowed }) => allowed),
  ];
  const told = [
    ...missing.map(({ path }) => found('VAULT_RIGHT_MISSING', `It may not read ${path}.`)),
    ...excess.map(({ path }) => found('VAULT_RIGHT_EXCESS', `It may read ${path}, which is not its own.`)),
  ];
  if (told.length > 0) return told;
  return [
    ok(
      `It may read what it needs (${counted(wanted.length, 'path')}), and nothing of ${counted(new Set(forbidden).size, 'path')} that others have.`,
    ),
  ];
}

/**
 * Whether it could put a key of its own among those that are trusted. Asked of Vault instead of tried; where it does not
 * tell, the token lacks Vault's default policy, as those that `byoc vault setup` makes do.
 */
async function judgeWrites(requests: VaultRequests, token: string, clusterId: string): Promise<Told[]> {
  const paths = ['signing-keys', 'approvers'].map((name) => `${KV_MOUNT}/data/byoc/${clusterId}/${name}/byoc-doctor`);
  const answer = await requests.post('sys/capabilities-self', { paths }, token).catch(() => undefined);
  return paths.flatMap((path) => {
    const given = member(member(answer, 'data'), path);
    const writes = (Array.isArray(given) ? given : []).some((one) =>
      ['create', 'update', 'patch', 'root'].includes(one),
    );
    return writes ? [found('VAULT_RIGHT_EXCESS', `It may write ${path}, and so decide itself whom it trusts.`)] : [];
  });
}

/** What a role reads, as paths that can be asked for without changing anything; in place of `*` a name that need not be there. */
function readable(role: VaultRole, clusterId: string): string[] {
  return VAULT_ROLES[role].paths
    .filter(({ capability }) => capability === 'read' || capability === 'list')
    .map(({ path, capability }) => {
      const full = path.replace('CLUSTER', clusterId).replace(/\*$/, 'byoc-doctor');
      return capability === 'list' ? `${full.replace(/\/$/, '')}?list=1` : full;
    });
}

/** 404 is leave to ask for something that is not there. @throws {VaultRequestError} where there is no answer */
async function mayRead(requests: VaultRequests, token: string, path: string): Promise<boolean> {
  try {
    await requests.get(path, token);
    return true;
  } catch (error) {
    if (!(error instanceof VaultRequestError)) throw error;
    if (error.status === 404) return true;
    if (error.status === 403) return false;
    throw error;
  }
}

async function judgeJwt(requests: VaultRequests, token: string, clusterId: string, role: Role): Promise<Told> {
  const path = `identity/oidc/token/${identityRoleOf(role)}`;
  let answer: unknown;
  try {
    answer = await requests.get(path, token);
  } catch (error) {
    if (!(error instanceof VaultRequestError && error.status !== undefined)) throw error;
    return found('VAULT_RIGHT_MISSING', `Vault issues no JWT (${path}): ${error.said}.`);
  }
  const jwt = member(member(answer, 'data'), 'token');
  const claims = typeof jwt === 'string' ? claimsIn(jwt) : {};
  const { audience } = VAULT_ROLES[role];
  if (claims['cluster_id'] !== clusterId) return found('VAULT_JWT_WRONG', 'The JWT names another cluster, or none.');
  if (claims['role'] !== role) return found('VAULT_JWT_WRONG', 'The JWT names another role, or none.');
  if (claims['aud'] !== audience) return found('VAULT_JWT_WRONG', `The JWT is not for ${audience}.`);
  return ok(`Vault issues JWTs for ${audience} that name ${clusterId}.`);
}

/** Unverified: who issued it is known, and nobody is let in by it here. */
function claimsIn(jwt: string): Readonly<Record<string, unknown>> {
  try {
    return decodeJwt(jwt);
  } catch {
    return {};
  }
}
