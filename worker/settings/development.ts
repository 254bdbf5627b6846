import { hostname } from 'node:os';

type Given = Readonly<Record<string, string | undefined>>;

/** Where these two are looked for on a developer's machine, by convention. */
export const DEVELOPMENT_ADDRESSES = {
  CONTROL_PLANE_URL: 'http://localhost:8004',
  INSIGHT_URL: 'http://localhost:8002',
} as const;

/**
 * What counts in development where it is left out; what is given goes before it. In production nothing is guessed: each
 * node of a cluster would pass for another one, and a sidecar for the control plane.
 * @param given the settings that are not empty
 */
export function developmentDefaults(given: Given): Record<string, string> {
  if (given['NODE_ENV'] === 'production') return {};
  const isNamed = (role: string) => given['BYOC_ROLES']?.split(',').some((one) => one.trim() === role);
  // Both know a cluster by what its Vault says.
  if (given['VAULT_ADDR'] === undefined) return clusterOfNode(given);
  return {
    ...clusterOfNode(given),
    // Where no role is named, this address says whether there is one.
    ...(isNamed('registration') && { CONTROL_PLANE_URL: DEVELOPMENT_ADDRESSES.CONTROL_PLANE_URL }),
    ...(given['PROM_URL'] !== undefined && { INSIGHT_URL: DEVELOPMENT_ADDRESSES.INSIGHT_URL }),
  };
}

function clusterOfNode(given: Given): { readonly BYOC_CLUSTER_ID?: string } {
  const name = (given['NODE_NAME'] ?? hostname()).toLowerCase().replaceAll(/[^a-z0-9]+/g, '-');
  const label = name.replace(/^-/, '').slice(0, 63).replace(/-$/, '');
  return label === '' ? {} : { BYOC_CLUSTER_ID: label };
}
