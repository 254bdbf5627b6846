import type { Digest } from './digest.ts';
import type { Proof, VoteRecord } from './approvals.ts';
import type { ErrorCode } from './errors.ts';
import type { WindowState } from './maintenance-windows.ts';
import type { Requirement } from './policy.ts';
import type { ObjectRef, Change } from './plan.ts';
import type { RiskLevel, StepAction, Wpk } from './wpk.ts';

/** Where a package stands; the same word in status, search attribute and audit. */
export type Phase = (typeof PHASES)[number];
export type EndPhase = (typeof END_PHASES)[number];

const END_PHASES = ['succeeded', 'denied', 'rejected', 'expired', 'failed', 'rolled-back', 'stopped'] as const;
export const PHASES = ['verifying', 'planning', 'awaiting-approval', 'executing', ...END_PHASES] as const;

const ENDS: ReadonlySet<string> = new Set(END_PHASES);

export function isEnd(phase: Phase): phase is EndPhase {
  return ENDS.has(phase);
}

/** What is known of a package once its signature holds and it is read. */
export interface PackageFacts {
  readonly wpkId: string;
  readonly name: string;
  readonly playbook: string;
  readonly author: string;
  readonly reason: string;
  readonly clusterId: string;
  readonly namespaces: readonly string[];
  readonly steps: number;
  readonly expiresAt: string;
  readonly wpkDigest: Digest;
  /** Name of the signing key, or the identity in the certificate. */
  readonly signedBy: string;
  /** Base64 of the SHA-256 over that key's SPKI in DER. */
  readonly signerFingerprint: string;
  /** Absent in results of workers before there was a rollback. */
  readonly onFailure?: Wpk['onFailure'];
  /** The identity in the certificate; absent for a key. */
  readonly signerIdentity?: string;
}

/** One object as execution left it. */
export interface ObjectOutcome {
  readonly object: ObjectRef;
  readonly change: Change;
  readonly uid?: string;
  readonly resourceVersion?: string;
  /** SHA-256 over the normalised object before and after; absent where there was or is none. */
  readonly beforeHash?: Digest;
  readonly afterHash?: Digest;
}

/** The end of what a container of a Job wrote, values of Secrets masked. */
export interface LogTail {
  readonly pod: string;
  readonly container: string;
  readonly text: string;
  /** Why there is no text. */
  readonly missing?: string;
}

export interface StepReport {
  readonly id: string;
  readonly action: StepAction;
  /** `partial` for a step that did not come to its end; its objects are what it did until then. */
  readonly outcome: 'done' | 'unchanged' | 'partial';
  readonly objects: readonly ObjectOutcome[];
  readonly logs?: readonly LogTail[];
  readonly startedAt: string;
  readonly finishedAt: string;
}

/**
 * `undone`: as it was before · `unchanged`: was so already · `partly`: as far as it can be, see `why` · `left`: not
 * touched, because somebody else changed it meanwhile or the API server refuses it.
 */
export type UndoOutcome = 'undone' | 'unchanged' | 'partly' | 'left';

/** What became of one object that a package had changed. */
export interface UndoneObject {
  readonly step: string;
  readonly object: ObjectRef;
  readonly outcome: UndoOutcome;
  /** What could not be undone, and the reason. */
  readonly why?: string;
}

/** What a rollback did, in the order in which it did it. */
export interface UndoReport {
  readonly objects: readonly UndoneObject[];
  /** Whether nothing was left that could have been undone. */
  readonly complete: boolean;
}

/** Who wants a package rolled back. */
export interface RollbackRequest {
  readonly by: string;
  /** The same, signed (`domain/approval-statement.ts`): who asks is then whoever's key it is. */
  readonly statement?: unknown;
}

export interface RollbackOutcome {
  /** `stopped`: somebody stopped it before it came to its end; another rollback goes on. */
  readonly outcome: 'ended' | 'stopped';
  readonly report: UndoReport;
  /** Who asked for it; absent where nobody did, or nothing was left to undo. */
  readonly by?: string;
  /** How far that is proven. */
  readonly proof?: Proof;
}

/** What execution did, also where it ended early. */
export interface ExecutionReport {
  readonly steps: readonly StepReport[];
  /** Set where it was undone, or was to be. */
  readonly undo?: UndoReport;
}

/** What execution is doing; travels as heartbeat details. */
export interface Progress {
  /** Empty before the first step. */
  readonly step: string;
  /** From 1; 0 before the first step. */
  readonly index: number;
  readonly of: number;
  /** Objects of the step that are done, of how many. */
  readonly done: number;
  readonly total: number;
  /** What it waits for, in words. */
  readonly waitingFor?: string;
  readonly since: string;
}

export interface Failure {
  readonly code: ErrorCode;
  readonly message: string;
}

/** The answer to the query `status`. */
export interface PackageStatus {
  readonly phase: Phase;
  readonly since: string;
  readonly timeline: readonly { readonly phase: Phase; readonly at: string }[];
  readonly facts?: PackageFacts;
  readonly planDigest?: Digest;
  readonly risk?: RiskLevel;
  readonly requirement?: Requirement;
  readonly approvers: readonly string[];
  /** Approvals still missing; absent before there is a plan. */
  readonly missing?: number;
  /** Groups of which nobody has approved yet. */
  readonly missingGroups?: readonly string[];
  readonly votes: readonly VoteRecord[];
  /** When the answer must be there, while the package waits. */
  readonly answerBy?: string;
  /** Set while the maintenance windows are closed. */
  readonly window?: WindowState;
  /** How often the plan changed between approval and execution, which sent it back. */
  readonly replans: number;
  readonly report?: ExecutionReport;
  readonly error?: Failure;
  /** Set where it was stopped and somebody said who and why. */
  readonly stop?: StopRequest;
}

/** Who wants a package stopped, and why: asserted, as whoever may cancel the run may say anything. */
export interface StopRequest {
  readonly by: string;
  readonly reason?: string;
}

/** What a finished run returns, or carries as the details of its failure. */
export interface PackageResult {
  readonly phase: EndPhase;
  readonly wpkId?: string;
  readonly planDigest?: Digest;
  readonly approvers: readonly string[];
  readonly report?: ExecutionReport;
  readonly error?: Failure;
}
