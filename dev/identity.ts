import { CLUSTER_CLAIM, CONTROL_PLANE_AUDIENCE } from '../domain/control-plane.ts';
import type { VaultService } from './servers/openbao.ts';

/** The login of a connector at the stack's Vault, as its settings name it. */
export interface Login {
  readonly VAULT_ROLE_ID: string;
  readonly VAULT_SECRET_ID: string;
}

export interface IdentityOptions {
  readonly clusterId: string;
  /** How long a JWT is good; 15 minutes where it is left out. */
  readonly tokenTtl?: string;
  /** The role of the identity engine, to have others than the connector's. */
  readonly role?: string;
  readonly audience?: string;
}

/** Makes an AppRole of one cluster that reads its keys and gets JWTs for the control plane. */
export async function prepareIdentity(vault: VaultService, options: IdentityOptions): Promise<Login> {
  const { clusterId, tokenTtl = '15m', role = 'byoc-registration', audience = CONTROL_PLANE_AUDIENCE } = options;
  const name = `byoc-${clusterId}-registration`;
  const call = async (method: 'GET' | 'POST', path: string, body?: object): Promise<Record<string, string>> => {
    const answer = await fetch(`${vault.address}/v1/${path}`, {
      method,
      headers: { 'X-Vault-Token': vault.token },
      ...(body && { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    if (!answer.ok && !text.includes('already in use')) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    const { data } = text === '' ? {} : (JSON.parse(text) as { data?: Record<string, string> });
    return data ?? {};
  };

  await call('POST', 'sys/auth/approle', { type: 'approle' });
  await call('POST', 'identity/oidc/key/byoc', {
    algorithm: 'ES256',
    allowed_client_ids: '*',
    rotation_period: '24h',
    verification_ttl: '24h',
  });
  const template = `{"${CLUSTER_CLAIM}": {{identity.entity.metadata.cluster_id}}}`;
  await call('POST', `identity/oidc/role/${role}`, { key: 'byoc', client_id: audience, ttl: tokenTtl, template });
  const policy = [
    `path "identity/oidc/token/*" { capabilities = ["read"] }`,
    `path "secret/data/byoc/${clusterId}/*" { capabilities = ["read"] }`,
    `path "secret/metadata/byoc/${clusterId}/*" { capabilities = ["list"] }`,
  ].join('\n');
  await call('POST', `sys/policies/acl/${name}`, { policy });
  await call('POST', `auth/approle/role/${name}`, { token_policies: [name], token_ttl: '1h' });
  const { role_id: roleId = '' } = await call('GET', `auth/approle/role/${name}/role-id`);
  const { secret_id: secretId = '' } = await call('POST', `auth/approle/role/${name}/secret-id`, {});
  await call('POST', `identity/entity/name/${name}`, { metadata: { cluster_id: clusterId } });
  const { id: entity } = await call('GET', `identity/entity/name/${name}`);
  const mounts = (await call('GET', 'sys/auth')) as unknown as Record<string, { accessor: string }>;
  const accessor = mounts['approle/']?.accessor;
  await call('POST', 'identity/entity-alias', { name: roleId, canonical_id: entity, mount_accessor: accessor });
  return { VAULT_ROLE_ID: roleId, VAULT_SECRET_ID: secretId };
}
