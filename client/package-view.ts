import type { WorkflowExecutionDescription } from '@temporalio/client';
import { defaultPayloadConverter } from '@temporalio/common';
import { ERRORS, isErrorCode } from '../domain/errors.ts';
import type { ErrorCode } from '../domain/errors.ts';
import type { PackageStatus, Progress, RollbackOutcome } from '../domain/status.ts';

/** What something that is being retried waits for. */
export interface Waiting {
  /** Which activity. */
  readonly activity: string;
  readonly attempt: number;
  /** What the last attempt failed with: code and public sentence. */
  readonly failure: string;
  /** Code of that, where it is one of ours. */
  readonly code?: ErrorCode;
  /** False where nothing is wrong, and it only waits for others. */
  readonly isWrong: boolean;
}

/** What Temporal knows of the activity of a run. */
export interface Work {
  readonly progress?: Progress;
  readonly waiting?: Waiting;
}

/** A rollback that somebody asked for, while it is under way and as it has ended. */
export type RollbackView =
  | ({ readonly state: 'under way' } & Work)
  /** `at`: when it ended. */
  | ({ readonly state: 'over'; readonly at?: string } & RollbackOutcome);

/** A package as people and programs see it: the workflow's own status, and what Temporal knows of its activity. */
export interface PackageView extends PackageStatus, Work {
  readonly wpkId: string;
  readonly workflowId: string;
  readonly runId: string;
  readonly startedAt: string;
  /** The newest that was asked for after it had ended. */
  readonly rollback?: RollbackView;
}

type PendingActivity = NonNullable<WorkflowExecutionDescription['raw']['pendingActivities']>[number];

/** @param wpkId the package's id, as the workflow's id ends. */
export function viewOf(wpkId: string, status: PackageStatus, description: WorkflowExecutionDescription): PackageView {
  return {
    wpkId,
    workflowId: description.workflowId,
    runId: description.runId,
    startedAt: description.startTime.toISOString(),
    ...status,
    ...workOf(description),
  };
}

/** @returns nothing in it while no activity has begun, or as long as it has nothing to say */
export function workOf(description: WorkflowExecutionDescription): Work {
  const all = description.raw.pendingActivities ?? [];
  // Votes that come too late are checked beside it.
  const pending = all.find(({ activityType }) => WRITING.has(activityType?.name ?? '')) ?? all[0];
  const progress = pending && progressIn(pending);
  const waiting = pending && waitingIn(pending);
  return { ...(progress && { progress }), ...(waiting && { waiting }) };
}

const WRITING: ReadonlySet<string> = new Set(['executePackage', 'rollbackPackage']);

/** Heartbeat details are written by our own worker, uncompressed because they are small. */
function progressIn({ heartbeatDetails }: PendingActivity): Progress | undefined {
  const [payload] = heartbeatDetails?.payloads ?? [];
  return payload ? (defaultPayloadConverter.fromPayload<Progress | null>(payload) ?? undefined) : undefined;
}

function waitingIn({ activityType, attempt, lastFailure }: PendingActivity): Waiting | undefined {
  if (!lastFailure || (attempt ?? 0) < 2) return undefined;
  const code = lastFailure.applicationFailureInfo?.type;
  const known = isErrorCode(code) ? `${code}: ${ERRORS[code].sentence}` : (lastFailure.message ?? 'unknown');
  const waitingFor = waitingForIn(lastFailure);
  const failure = waitingFor === undefined ? known : `${known} ${waitingFor}`;
  const isWrong = waitingFor === undefined;
  const base = { activity: activityType?.name ?? '', attempt: attempt ?? 0, failure, isWrong };
  return isErrorCode(code) ? { ...base, code } : base;
}

/** What an attempt said that waits for others, as detailsOf() in activities/index.ts leaves it. */
function waitingForIn({ applicationFailureInfo }: NonNullable<PendingActivity['lastFailure']>): string | undefined {
  const [payload] = applicationFailureInfo?.details?.payloads ?? [];
  const details = payload && defaultPayloadConverter.fromPayload<{ waitingFor?: unknown } | null>(payload);
  return typeof details?.waitingFor === 'string' ? details.waitingFor : undefined;
}
