import type { PlannedObject } from '../plan.ts';
import type { RiskLevel } from '../wpk.ts';
import type { ChangedPod } from './pods.ts';

/** What the rules look at: the planned change and the object as it would be. */
export interface RiskSubject {
  readonly planned: Pick<PlannedObject, 'change' | 'object'> &
    Partial<Pick<PlannedObject, 'force' | 'verified' | 'changesOmitted'>>;
  /** The live object; absent on creation. */
  readonly before?: unknown;
  /** The object as it would be; absent on deletion. */
  readonly after?: unknown;
}

/** A subject with what several rules want to know of it. */
export interface JudgedObject extends RiskSubject {
  /** The pods that it would make. */
  readonly pods: readonly ChangedPod[];
}

export interface RiskRule {
  /** What findings, people and tests call it: never changed. */
  readonly id: string;
  readonly level: RiskLevel;
  /** What it finds, as `docs/risk.md` says it. */
  readonly sentence: string;
  /**
   * What it finds in one changed object, the end of a sentence that starts with the object; undefined for nothing.
   * It enters the digest that an approval binds: what moves by itself (replicas under an autoscaler, names that the API
   * server makes up) has no place in it.
   */
  readonly find: (subject: JudgedObject) => string | undefined;
}
