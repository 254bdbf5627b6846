import type { Digest } from '../../domain/digest.ts';
import type { StepReport } from '../../domain/status.ts';
import type { Step, Wpk } from '../../domain/wpk.ts';
import type { DryRun } from './planner.ts';
import type { UndoEntry } from './undo-entry.ts';

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
  readonly beforeWrite?: () => void | Promise<void>;
  /** Called before the first write of a step, and again with what it did; the step waits for it, to record it. */
  readonly onStep?: (step: { readonly started: Step } | { readonly finished: StepReport }) => Promise<void>;
  /** What undoing the package would need is kept here; without one it can't be undone, and ends can't be remembered. */
  readonly journal?: StepJournal;
  /** Steps that an earlier attempt brought to their end, with what it reported: they are not looked at again. */
  readonly done?: ReadonlyMap<string, StepReport>;
  readonly onProgress?: (progress: ExecutionProgress) => void;
  /** Filled step by step; what is in it when `execute` throws was carried out. */
  readonly report: GrowingReport;
}

/** Where an execution notes what it is about to write and what it has brought to its end. */
export interface StepJournal {
  /** Keeps what undoing a step needs; awaited before the first write. Entries of an earlier attempt stay unless named. */
  begin(step: Step, entries: readonly UndoEntry[]): Promise<void>;
  /**
   * Told when a step ends, however it does.
   * @param corrections entries of objects that were left in another state than `begin` was told
   */
  end(step: Step, report: StepReport, corrections: readonly UndoEntry[]): Promise<void>;
}

/** An `ExecutionReport` while it is written. */
export interface GrowingReport {
  readonly steps: StepReport[];
}
