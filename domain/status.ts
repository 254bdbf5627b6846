import type { Digest } from './digest.ts';
import type { VoteRecord } from './approvals.ts';
import type { ErrorCode } from './errors.ts';
import type { WindowState } from './maintenance-windows.ts';
import type { Requirement } from './policy.ts';
import type { ObjectRef, Change } from './plan.ts';
import type { RiskLevel, StepAction } from './wpk.ts';

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

export interface StepReport {
  readonly id: string;
  readonly action: StepAction;
  /** `partial` for a step that did not come to its end; its objects are what it did until then. */
  readonly outcome: 'done' | 'unchanged' | 'partial';
  readonly objects: readonly ObjectOutcome[];
  readonly startedAt: string;
  readonly finishedAt: string;
}

/** What execution did, also where it ended early. */
export interface ExecutionReport {
  readonly steps: readonly StepReport[];
}

/** What execution is doing; travels as heartbeat details. */
export interface Progress {
  readonly step: string;
  /** From 1. */
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
