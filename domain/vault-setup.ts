import type { Role } from './names.ts';
import { PAYLOAD_KEY_BYTES, PAYLOAD_KEYS_FOLDER } from './payload-key.ts';

/**
 * Everything that a customer configures in Vault (or OpenBao) for one cluster, as data: `byoc vault setup` prints or
 * performs it, and the embedded stack is made by it. Each role may do what its row says and nothing else.
 */

/** Who logs in: the roles of a worker, and the codec server, which shows payloads to those who may see them. */
export type VaultRole = Role | 'codec';

/** Where the KV engine (version 2) with the keys is mounted. */
export const KV_MOUNT = 'secret';

/** Where the transit engine is, with keys that people sign with; Vault's own default. */
export const TRANSIT_MOUNT = 'transit';

/** The named key that signs JWTs; one for all clusters of a Vault. */
const IDENTITY_KEY = 'byoc';

const HOUR_S = 3_600;

interface RoleRights {
  /** The service that the role's JWTs are for (`aud`); no JWT where there is none. */
  readonly audience?: string;
  /** What it may do with which path; `CLUSTER` stands for the cluster's id. */
  readonly paths: readonly { readonly path: string; readonly capability: 'read' | 'list' | 'update' }[];
}

const folderOf = (name: string): RoleRights['paths'] => [
  { path: `${KV_MOUNT}/metadata/byoc/CLUSTER/${name}/`, capability: 'list' },
  { path: `${KV_MOUNT}/data/byoc/CLUSTER/${name}/*`, capability: 'read' },
];

/** The payload keys are not for registration and metrics: neither is sent anything that is encrypted with them. */
export const VAULT_ROLES: Readonly<Record<VaultRole, RoleRights>> = {
  registration: { audience: 'neuralops-control-plane', paths: [] },
  metrics: { audience: 'neuralops-insight', paths: [] },
  execution: { paths: [...folderOf('signing-keys'), ...folderOf('approvers'), ...folderOf(PAYLOAD_KEYS_FOLDER)] },
  codec: { paths: folderOf(PAYLOAD_KEYS_FOLDER) },
};

/** Everybody who logs in. */
export const VAULT_LOGINS = Object.keys(VAULT_ROLES) as VaultRole[]; // the table's own keys

/** The roles of a worker. */
export const ROLES = VAULT_LOGINS.filter((login): login is Role => login !== 'codec');

/** What every token may do with itself; the default policy of Vault would allow more. */
const OWN_TOKEN: RoleRights['paths'] = [
  { path: 'auth/token/lookup-self', capability: 'read' },
  { path: 'auth/token/renew-self', capability: 'update' },
  { path: 'auth/token/revoke-self', capability: 'update' },
];

/** Name of a role's policy, AppRole and entity. */
export function vaultNameOf(clusterId: string, role: VaultRole): string {
  return `byoc-${clusterId}-${role}`;
}

/** Name of the role of the identity engine that issues a role's JWTs. */
export function identityRoleOf(role: VaultRole): string {
  return `byoc-${role}`;
}

/** Something that Vault itself chose, read when it is needed. */
export interface SetupReference {
  readonly read: string;
  readonly field: string;
}

export type SetupValue =
  string | number | boolean | readonly string[] | Readonly<Record<string, string>> | SetupReference;

/** One write to Vault's API. */
export interface SetupStep {
  /** What it is for, in a sentence. */
  readonly why: string;
  readonly path: string;
  readonly data: Readonly<Record<string, SetupValue>>;
  /** For an engine, which others may use too: it is made where there is none, and never changed. */
  readonly once?: true;
  /** For the one path that cannot be read: the entity among whose aliases what was written shows. */
  readonly alias?: string;
  /** For a secret key: of how many bytes. It is made at random, and only where its folder holds none. */
  readonly keyBytes?: number;
}

/** The KV engine, folder and name of a secret. */
export function secretAt(path: string): { readonly mount: string; readonly folder: string; readonly name: string } {
  const [mount = '', , ...rest] = path.split('/');
  return { mount, folder: rest.slice(0, -1).join('/'), name: rest.at(-1) ?? '' };
}

export function isReference(value: SetupValue): value is SetupReference {
  return typeof value === 'object' && 'read' in value && 'field' in value;
}

/** All steps for one cluster, in order; each may be done again at any time. */
export function vaultSetup(clusterId: string): SetupStep[] {
  return [
    {
      why: 'The KV engine with the public keys of signers and approvers.',
      path: `sys/mounts/${KV_MOUNT}`,
      data: { type: 'kv', options: { version: '2' } },
      once: true,
    },
    {
      why: 'The login method of the connector.',
      path: 'sys/auth/approle',
      data: { type: 'approle' },
      once: true,
    },
    {
      why: 'The key that signs the JWTs by which other services know a cluster.',
      path: `identity/oidc/key/${IDENTITY_KEY}`,
      data: {
        algorithm: 'ES256',
        rotation_period: 24 * HOUR_S,
        verification_ttl: 24 * HOUR_S,
        allowed_client_ids: VAULT_LOGINS.flatMap((role) => VAULT_ROLES[role].audience ?? []),
      },
    },
    {
      why: 'The first key that payloads in Temporal are encrypted with, made at random where there is none.',
      path: `${KV_MOUNT}/data/byoc/${clusterId}/${PAYLOAD_KEYS_FOLDER}/first`,
      data: {},
      keyBytes: PAYLOAD_KEY_BYTES,
    },
    ...VAULT_LOGINS.flatMap(identityStep),
    ...VAULT_LOGINS.flatMap((role) => roleSteps(clusterId, role)),
  ];
}

function identityStep(role: VaultRole): SetupStep[] {
  const { audience } = VAULT_ROLES[role];
  if (audience === undefined) return [];
  return [
    {
      why: `JWTs of ${role}: for ${audience}, and they say which cluster and role they are for.`,
      path: `identity/oidc/role/${identityRoleOf(role)}`,
      data: {
        key: IDENTITY_KEY,
        client_id: audience,
        ttl: HOUR_S / 4,
        template: '{"cluster_id": {{identity.entity.metadata.cluster_id}}, "role": {{identity.entity.metadata.role}}}',
      },
    },
  ];
}

function roleSteps(clusterId: string, role: VaultRole): SetupStep[] {
  const name = vaultNameOf(clusterId, role);
  return [
    {
      why: `All that ${role} may do.`,
      path: `sys/policies/acl/${name}`,
      data: { policy: policyOf(clusterId, role) },
    },
    {
      why: `The login of ${role}: its tokens are renewed for a day at most.`,
      path: `auth/approle/role/${name}`,
      data: {
        token_policies: [name],
        token_no_default_policy: true,
        token_type: 'service',
        token_ttl: HOUR_S,
        token_max_ttl: 24 * HOUR_S,
        secret_id_num_uses: 0,
        secret_id_ttl: 90 * 24 * HOUR_S,
      },
    },
    {
      why: `Who ${role} of this cluster is; its JWTs say so.`,
      path: `identity/entity/name/${name}`,
      data: { metadata: { cluster_id: clusterId, role } },
    },
    {
      why: `The login of ${role} belongs to it.`,
      path: 'identity/entity-alias',
      data: {
        name: { read: `auth/approle/role/${name}/role-id`, field: 'role_id' },
        mount_accessor: { read: 'sys/auth/approle', field: 'accessor' },
        canonical_id: { read: `identity/entity/name/${name}`, field: 'id' },
      },
      alias: `identity/entity/name/${name}`,
    },
  ];
}

/** A role's policy in HCL. */
export function policyOf(clusterId: string, role: VaultRole): string {
  const { audience, paths } = VAULT_ROLES[role];
  const token = { path: `identity/oidc/token/${identityRoleOf(role)}`, capability: 'read' } as const;
  return [...paths, ...(audience === undefined ? [] : [token]), ...OWN_TOKEN]
    .map(
      ({ path, capability }) => `path "${path.replace('CLUSTER', clusterId)}" { capabilities = ["${capability}"] }\n`,
    )
    .join('');
}
