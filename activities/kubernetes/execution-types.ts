import type { Digest } from '../../domain/digest.ts';
import type { Change, ObjectRef } from '../../domain/plan.ts';
import type { StepAction, Wpk } from '../../domain/wpk.ts';
import type { DryRun } from './planner.ts';

export interface ExecutionProgress {
  readonly step: string;
  /** Objects of the step that are done, of how many. */
  readonly done: number;
  readonly total: number;
  readonly waitingFor?: string;
}

export interface ExecutionOptions {
  readonly wpk: Wpk;
  /** Made just before, without problems. */
  readonly dryRun: DryRun;
  /** Digests of the objects of the approved plan. */
  readonly approved: ReadonlySet<Digest>;
  /** An earlier attempt may have carried out a part: what is as it should be then counts as done. */
  readonly resumed: boolean;
  readonly signal?: AbortSignal;
  /** Called before every single write; throws where nothing may be written any more. */
  readonly beforeWrite: () => void | Promise<void>;
  readonly onProgress?: (progress: ExecutionProgress) => void;
  /** Filled step by step; what is in it when `execute` throws was carried out. */
  readonly report: ExecutionReport;
}

/** What one step did to one object. */
export interface ObjectReport {
  readonly object: ObjectRef;
  readonly change: Change;
  readonly uid?: string;
  readonly resourceVersion?: string;
  /** Hashes of the object before and after (`stateHash`); absent where there was or is none. */
  readonly beforeHash?: Digest;
  readonly afterHash?: Digest;
}

export interface StepReport {
  readonly id: string;
  readonly action: StepAction;
  /** `partial` for a step that did not come to its end; its objects are what it did until then. */
  readonly outcome: 'done' | 'unchanged' | 'partial';
  readonly objects: readonly ObjectReport[];
  readonly startedAt: string;
  readonly finishedAt: string;
}

/** What was carried out. Filled as the execution goes, so that it is true also where the execution fails. */
export interface ExecutionReport {
  readonly steps: StepReport[];
}
