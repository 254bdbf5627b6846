import type { Digest, Sha256 } from './digest.ts';
import { canonicalJson } from './digest.ts';
import type { RiskLevel, StepAction } from './wpk.ts';

/** What a step would do to one object. `unchanged` includes what is already deleted, scaled, restarted or patched. */
export type Change = 'create' | 'update' | 'delete' | 'unchanged';

export interface ObjectRef {
  readonly apiVersion: string;
  readonly kind: string;
  /** Absent for cluster-scoped kinds. */
  readonly namespace?: string;
  readonly name: string;
}

/** One difference between the live object and what it would become; `path` is a JSON pointer (RFC 6901), '' the whole. */
export interface PathChange {
  readonly path: string;
  /** Absent where nothing was there. Values of Secrets are masked: equal values have equal masks. */
  readonly before?: unknown;
  /** Absent where the path goes away. */
  readonly after?: unknown;
  /**
   * What the list items on the path are called, by their pointers: whose image changes, and not only the first one's.
   * Part of the digest, because an index says nothing once the list is another one.
   */
  readonly names?: Readonly<Record<string, string>>;
}

/** Who says that the change would work. */
export type Verified =
  | { readonly by: 'server' }
  /** The change follows from the answer for an earlier step of the same package (a restart, a scale). */
  | { readonly by: 'earlier-step'; readonly step: string }
  | { readonly by: 'nobody'; readonly reason: string };

export interface PlannedObject {
  readonly step: string;
  readonly action: StepAction;
  readonly change: Change;
  readonly object: ObjectRef;
  /** UID of the live object; absent where the package itself creates it. */
  readonly uid?: string;
  readonly force: boolean;
  /** Empty when unchanged. */
  readonly changes: readonly PathChange[];
  readonly verified: Verified;
  /** Digest over what this object would go through (`objectDigest`). */
  readonly digest: Digest;
  /** Set where the differences were left out because the plan would have been too large for Temporal. */
  readonly changesOmitted?: boolean;
}

/** An object that the API server refuses; a plan with any problem cannot be executed. */
export interface PlanProblem {
  readonly step: string;
  readonly object: ObjectRef;
  /** What the API server said, with the field where it named one. */
  readonly message: string;
}

export interface RiskFinding {
  /** Id of the rule in `domain/risk.ts`. */
  readonly rule: string;
  readonly level: RiskLevel;
  /** A sentence for people. */
  readonly message: string;
  readonly object?: ObjectRef;
}

export interface Risk {
  /** The highest level that any finding has, or what the author declared where that is higher. */
  readonly level: RiskLevel;
  readonly findings: readonly RiskFinding[];
}

export interface Plan {
  readonly wpkDigest: Digest;
  readonly clusterUid: string;
  readonly policyDigest: Digest;
  readonly objects: readonly PlannedObject[];
  readonly problems: readonly PlanProblem[];
  readonly risk: Risk;
  /** What an approval binds (`planDigest`). */
  readonly digest: Digest;
}

/** The parts of an object's plan that its digest covers. */
export type ObjectDigestInput = Pick<PlannedObject, 'step' | 'action' | 'change' | 'object' | 'force' | 'changes'> & {
  readonly uid?: string | undefined;
};

/**
 * Digest of what one object would go through: step, action, force, GVK and name, UID, and only the paths that would
 * change with before and after. What the server generates or others own never enters (see the planner's table).
 */
export function objectDigest(sha256: Sha256, planned: ObjectDigestInput): Digest {
  const { step, action, change, object, uid, force, changes } = planned;
  return sha256(canonicalJson({ step, action, change, object, uid: uid ?? null, force, changes }));
}

/** What the plan's digest covers; small enough to travel with an approval even for a thousand objects. */
export interface PlanBinding {
  readonly wpkDigest: Digest;
  readonly clusterUid: string;
  readonly policyDigest: Digest;
  readonly risk: Risk;
  readonly objects: readonly Digest[];
}

/**
 * The digest that an approval binds: SHA-256 over the RFC 8785 form of the payload's digest, the cluster's UID, the
 * policy's digest, the risk, and the digest of each object in the order of the package.
 */
export function planDigest(sha256: Sha256, binding: PlanBinding): Digest {
  const { wpkDigest, clusterUid, policyDigest, risk, objects } = binding;
  return sha256(canonicalJson({ wpkDigest, clusterUid, policyDigest, risk, objects }));
}

export function bindingOf(plan: Omit<Plan, 'digest' | 'problems'>): PlanBinding {
  const { wpkDigest, clusterUid, policyDigest, risk, objects } = plan;
  return { wpkDigest, clusterUid, policyDigest, risk, objects: objects.map((object) => object.digest) };
}

export function describeObject(object: ObjectRef): string {
  return object.namespace ? `${object.kind} ${object.namespace}/${object.name}` : `${object.kind} ${object.name}`;
}
