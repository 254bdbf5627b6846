import type { WorkflowExecutionDescription, WorkflowExecutionInfo } from '@temporalio/client';
import type { LoadedDataConverter } from '@temporalio/common';
import { ApplicationFailure } from '@temporalio/common';
import {
  decodeArrayFromPayloads,
  decodeOptionalFailureToOptionalError,
} from '@temporalio/common/lib/internal-non-workflow/index.js';
import { ConnectorError, ERRORS, isErrorCode } from '../domain/errors.ts';
import type { ErrorCode } from '../domain/errors.ts';
import { isMalformed } from '../domain/malformed.ts';
import { SEARCH_ATTRIBUTES } from '../domain/names.ts';
import type { PackageStatus, Phase, Progress, RollbackOutcome } from '../domain/status.ts';
import type { RiskLevel } from '../domain/wpk.ts';
import { SEALED_MESSAGE } from './errors.ts';

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
  /**
   * Set where the cluster encrypts what it tells, and there is no key here, or none in the worker: then `phase` and `risk` are known, and `since`
   * is when it started or ended; votes, approvers, timeline and replans are not, however empty they look.
   */
  readonly sealed?: true;
}

/** What a list and a description have in common. */
type Known = Omit<WorkflowExecutionInfo, 'raw'>;

type PendingActivity = NonNullable<WorkflowExecutionDescription['raw']['pendingActivities']>[number];

/**
 * @param wpkId the package's id, as the workflow's id ends
 * @param converter reads what the worker left with Temporal
 */
export async function viewOf(
  wpkId: string,
  status: PackageStatus,
  description: WorkflowExecutionDescription,
  converter: LoadedDataConverter,
): Promise<PackageView> {
  return {
    wpkId,
    workflowId: description.workflowId,
    runId: description.runId,
    startedAt: description.startTime.toISOString(),
    ...status,
    ...(await workOf(description, converter)),
  };
}

/**
 * What Temporal itself knows of a package whose status is encrypted for others.
 * @throws {ConnectorError} PAYLOAD_SEALED where the namespace lacks the search attributes
 */
export function sealedStatusOf(info: Known): PackageStatus & { readonly sealed: true } {
  const attribute = (name: string) => attributeOf(info, name);
  const phase = attribute(SEARCH_ATTRIBUTES.phase) ?? PHASE_AT_END[info.status.name];
  if (phase === undefined) {
    throw new ConnectorError('PAYLOAD_SEALED', 'The Temporal namespace lacks the search attribute ByocPhase.');
  }
  const risk = attribute(SEARCH_ATTRIBUTES.risk);
  return {
    sealed: true,
    phase: phase as Phase, // as the workflow sets it
    since: (info.closeTime ?? info.startTime).toISOString(),
    timeline: [],
    approvers: [],
    votes: [],
    replans: 0,
    ...(risk !== undefined && { risk: risk as RiskLevel }),
  };
}

/** Of runs that ended before they could say where they stand. */
const PHASE_AT_END: Readonly<Record<string, Phase>> = { FAILED: 'denied', CANCELLED: 'stopped' };

/** A search attribute of the connector's, all of which are texts. */
export function attributeOf({ typedSearchAttributes }: Known, name: string): string | undefined {
  const value: unknown = typedSearchAttributes.getAll().find(({ key }) => key.name === name)?.value;
  return typeof value === 'string' ? value : undefined;
}

/** @returns nothing in it while no activity has begun, or as long as it has nothing to say that can be read here */
export async function workOf({ raw }: WorkflowExecutionDescription, converter: LoadedDataConverter): Promise<Work> {
  const all = raw.pendingActivities ?? [];
  // Votes that come too late are checked beside it.
  const pending = all.find(({ activityType }) => WRITING.has(activityType?.name ?? '')) ?? all[0];
  if (!pending) return {};
  const [progress, waiting] = await Promise.all([progressIn(pending, converter), waitingIn(pending, converter)]);
  return { ...(progress && { progress }), ...(waiting && { waiting }) };
}

const WRITING: ReadonlySet<string> = new Set(['executePackage', 'rollbackPackage']);

async function progressIn(
  { heartbeatDetails }: PendingActivity,
  converter: LoadedDataConverter,
): Promise<Progress | undefined> {
  const [details] = await decodeArrayFromPayloads(converter, heartbeatDetails?.payloads);
  return isMalformed(details) ? undefined : ((details as Progress | null | undefined) ?? undefined); // as our worker wrote it
}

async function waitingIn(
  { activityType, attempt, lastFailure }: PendingActivity,
  converter: LoadedDataConverter,
): Promise<Waiting | undefined> {
  if (!lastFailure || (attempt ?? 0) < 2) return undefined;
  const error = await decodeOptionalFailureToOptionalError(converter, lastFailure);
  const code = lastFailure.applicationFailureInfo?.type;
  const said = error?.message === SEALED_MESSAGE ? undefined : error?.message;
  const known = isErrorCode(code) ? `${code}: ${ERRORS[code].sentence}` : (said ?? 'unknown');
  const waitingFor = waitingForIn(error);
  const failure = waitingFor === undefined ? known : `${known} ${waitingFor}`;
  const isWrong = waitingFor === undefined;
  const base = { activity: activityType?.name ?? '', attempt: attempt ?? 0, failure, isWrong };
  return isErrorCode(code) ? { ...base, code } : base;
}

/** What an attempt said that waits for others, as detailsOf() in activities/index.ts leaves it. */
function waitingForIn(error: Error | undefined): string | undefined {
  const [details] = error instanceof ApplicationFailure ? (error.details ?? []) : [];
  const { waitingFor } = (details ?? {}) as { readonly waitingFor?: unknown };
  return typeof waitingFor === 'string' ? waitingFor : undefined;
}
