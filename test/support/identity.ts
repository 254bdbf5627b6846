import { CLUSTER_CLAIM, CONTROL_PLANE_AUDIENCE } from '../../domain/control-plane.ts';

/** Calls Vault's API as its administrator; resolves to the answer's JSON and rejects where it fails. */
export type VaultCall = (method: 'GET' | 'POST', path: string, body?: object) => Promise<unknown>;

export interface IdentityOptions {
  readonly clusterId: string;
  /** The role of the identity engine, where another than the connector's is wanted. */
  readonly role?: string;
  /** How long a JWT is good; 15 minutes where it is left out. */
  readonly tokenTtl?: string;
  readonly audience?: string;
  /** The named key that signs. */
  readonly key?: string;
}

/** Makes an AppRole of one cluster that reads its keys and gets JWTs for the control plane. */
export async function prepareIdentity(
  call: VaultCall,
  options: IdentityOptions,
): Promise<{ readonly roleId: string; readonly secretId: string }> {
  const { clusterId, role = 'byoc-registration', key = 'byoc', tokenTtl = '15m' } = options;
  const { audience = CONTROL_PLANE_AUDIENCE } = options;
  const name = `byoc-${clusterId}-registration`;
  const read = async (path: string) => dataOf(await call('GET', path));

  if (!('approle/' in (await read('sys/auth')))) {
    await call('POST', 'sys/auth/approle', { type: 'approle' }).catch(() => undefined); // another was faster
  }
  await call('POST', `identity/oidc/key/${key}`, {
    algorithm: 'ES256',
    allowed_client_ids: '*',
    rotation_period: '24h',
    verification_ttl: '24h',
  });
  // As `byoc vault setup` makes it: the role is one for all clusters of the Vault, also for those of other tests.
  const metadata = '{{identity.entity.metadata';
  const template = `{"${CLUSTER_CLAIM}": ${metadata}.cluster_id}}, "role": ${metadata}.role}}}`;
  await call('POST', `identity/oidc/role/${role}`, { key, client_id: audience, ttl: tokenTtl, template });
  const policy = [
    `path "identity/oidc/token/*" { capabilities = ["read"] }`,
    `path "secret/data/byoc/${clusterId}/*" { capabilities = ["read"] }`,
    `path "secret/metadata/byoc/${clusterId}/*" { capabilities = ["list"] }`,
  ].join('\n');
  await call('POST', `sys/policies/acl/${name}`, { policy });
  await call('POST', `auth/approle/role/${name}`, { token_policies: [name], token_ttl: '1h' });
  const roleId = text((await read(`auth/approle/role/${name}/role-id`))['role_id']);
  const secretId = text(dataOf(await call('POST', `auth/approle/role/${name}/secret-id`, {}))['secret_id']);
  await call('POST', `identity/entity/name/${name}`, { metadata: { cluster_id: clusterId, role: 'registration' } });
  const entity = text((await read(`identity/entity/name/${name}`))['id']);
  const mount = (await read('sys/auth'))['approle/'];
  const accessor = text((mount as { accessor?: unknown } | undefined)?.accessor);
  await call('POST', 'identity/entity-alias', { name: roleId, canonical_id: entity, mount_accessor: accessor });
  return { roleId, secretId };
}

function dataOf(answer: unknown): Record<string, unknown> {
  return (answer as { data: Record<string, unknown> }).data;
}

function text(value: unknown): string {
  if (typeof value !== 'string') throw new Error('Vault left something out of its answer');
  return value;
}
