import type { ServiceAccountName } from '../../activities/kubernetes/applying-account.ts';
import { freezeNameOf } from '../../domain/freeze.ts';
import type { Role } from '../../domain/names.ts';

/** A right in the cluster, as RBAC names them. */
export interface Right {
  readonly verb: 'get' | 'list' | 'watch' | 'create' | 'patch' | 'delete' | 'deletecollection';
  readonly group: string;
  readonly resource: string;
  readonly subresource?: string;
  readonly name?: string;
  /** Cluster-wide where it is left out. */
  readonly namespace?: string;
}

export interface RightsOptions {
  readonly clusterId: string;
  readonly roles: readonly Role[];
  /** Where claims, locks, the freeze and keys are. */
  readonly stateNamespace: string;
  /** Where audit heads are published. */
  readonly headsNamespace: string;
  /** The account that packages are applied with. */
  readonly applyAccount: ServiceAccountName | undefined;
}

const LEASES = { group: 'coordination.k8s.io', resource: 'leases' } as const;
const SECRETS = { group: '', resource: 'secrets' } as const;
const CONFIG_MAPS = { group: '', resource: 'configmaps' } as const;
const IDENTITY: Right = {
  verb: 'get',
  group: '',
  resource: 'namespaces',
  name: 'kube-system',
  namespace: 'kube-system',
};
const AUDIT_KEY = 'byoc-audit-key';

const each = (verbs: readonly Right['verb'][], of: Omit<Right, 'verb'>): Right[] =>
  verbs.map((verb) => ({ verb, ...of }));

/**
 * What the account of a worker needs for its roles, whatever packages do: the rules that the chart gives it
 * (helm/connector/templates/rbac-*.yaml; test/activities/kubernetes/rights.test.ts runs the roles with them).
 */
export function neededRights({
  clusterId,
  roles,
  stateNamespace,
  headsNamespace,
  applyAccount,
}: RightsOptions): Right[] {
  const state = { namespace: stateNamespace };
  const heads = { ...LEASES, namespace: headsNamespace };
  const of: Readonly<Record<Role, readonly Right[]>> = {
    registration: [
      ...each(['get', 'list', 'create', 'patch'], heads),
      { verb: 'get', ...CONFIG_MAPS, ...state, name: freezeNameOf(clusterId) },
      { verb: 'get', ...SECRETS, ...state, name: AUDIT_KEY },
      IDENTITY,
    ],
    metrics: [
      ...each(['get', 'create', 'patch'], heads),
      { verb: 'get', ...SECRETS, ...state, name: AUDIT_KEY },
      { verb: 'get', ...SECRETS, ...state, name: 'byoc-redaction-key' },
    ],
    execution: [
      ...each(['get', 'list', 'watch', 'create', 'patch', 'delete'], { ...CONFIG_MAPS, ...state }),
      ...each(['get', 'list', 'create', 'patch', 'deletecollection'], { ...SECRETS, ...state }),
      ...each(['get', 'list', 'create', 'patch', 'delete'], { ...LEASES, ...state }),
      ...each(['get', 'list', 'create', 'patch', 'delete'], heads),
      IDENTITY,
      ...(applyAccount ? [tokenOf(applyAccount)] : []),
    ],
  };
  const all = roles.flatMap((role) => of[role]);
  return [...new Map(all.map((right) => [describeRight(right), right])).values()];
}

/** What the account that packages are applied with must not have, or a package could lift the freeze or read the keys. */
export function forbiddenToPackages({ stateNamespace, headsNamespace }: RightsOptions): Right[] {
  return [
    ...each(['create', 'patch', 'delete'], { ...CONFIG_MAPS, namespace: stateNamespace }),
    ...each(['get', 'create', 'patch'], { ...SECRETS, namespace: stateNamespace }),
    ...each(['create', 'patch', 'delete'], { ...LEASES, namespace: stateNamespace }),
    ...each(['create', 'patch', 'delete'], { ...LEASES, namespace: headsNamespace }),
  ];
}

function tokenOf({ namespace, name }: ServiceAccountName): Right {
  return { verb: 'create', group: '', resource: 'serviceaccounts', subresource: 'token', name, namespace };
}

/** `get secrets in byoc-system` */
export function describeRight({ verb, group, resource, subresource, name, namespace }: Right): string {
  const kind = `${resource}${group && `.${group}`}${subresource ? `/${subresource}` : ''}`;
  return `${verb} ${kind}${name ? ` ${name}` : ''}${namespace ? ` in ${namespace}` : ''}`;
}
