import { diffPaths } from '../../domain/diff.ts';
import type { Digest } from '../../domain/digest.ts';
import type { ObjectRef, Plan, PlannedObject } from '../../domain/plan.ts';
import { objectDigest } from '../../domain/plan.ts';
import { sha256 } from '../../client/sha256.ts';

const DIGEST: Digest = `sha256:${'a'.repeat(64)}`;

export const SETTINGS: ObjectRef = { apiVersion: 'v1', kind: 'ConfigMap', namespace: 'shop', name: 'settings' };
export const CHECKOUT: ObjectRef = { apiVersion: 'apps/v1', kind: 'Deployment', namespace: 'shop', name: 'checkout' };

/** What a step makes of one object, as the planner would tell it; undefined where there is none. */
export function plannedObject(
  object: ObjectRef,
  before: object | undefined,
  after: object | undefined,
  more: Partial<PlannedObject> = {},
): PlannedObject {
  const changes = diffPaths(before && whole(object, before), after && whole(object, after));
  const change = changes.length === 0 ? 'unchanged' : !before ? 'create' : after ? 'update' : 'delete';
  const planned = { step: 'config', action: 'apply', force: false, change, object, changes, ...more } as const;
  return { verified: { by: 'server' }, digest: objectDigest(sha256, planned), ...planned };
}

function whole({ apiVersion, kind, namespace, name }: ObjectRef, fields: object): object {
  const { metadata = {}, ...rest } = fields as { metadata?: object };
  return { apiVersion, kind, metadata: { name, ...(namespace && { namespace }), ...metadata }, ...rest };
}

export function planOf(objects: readonly PlannedObject[], more: Partial<Plan> = {}): Plan {
  return {
    ...{ wpkDigest: DIGEST, clusterUid: 'uid', policyDigest: DIGEST, digest: DIGEST, problems: [], objects },
    risk: { level: 'low', findings: [] },
    ...more,
  };
}
