import { CancelledFailure, setCurrentDetails, upsertSearchAttributes, workflowInfo } from '@temporalio/workflow';
import type { PlanResult, VerifyResult } from '../activities/index.ts';
import type { Decision, Receipt, StatementProof, VoteContext, VoteRecord } from '../domain/approvals.ts';
import type { Tally } from '../domain/tally.ts';
import { isDigest } from '../domain/digest.ts';
import { isMalformed } from '../domain/malformed.ts';
import type { WindowState } from '../domain/maintenance-windows.ts';
import type { Plan } from '../domain/plan.ts';
import type { Requirement } from '../domain/policy.ts';
import type {
  EndPhase,
  ExecutionReport,
  Failure,
  PackageFacts,
  PackageResult,
  PackageStatus,
  Phase,
  StopRequest,
} from '../domain/status.ts';
import { isEnd } from '../domain/status.ts';
import type { ShownPlan } from '../domain/details.ts';
import { renderDetails, renderDiscreetDetails, showPlan } from '../domain/details.ts';
import { SEARCH_ATTRIBUTES } from '../domain/names.ts';
import type { ReceivedVote } from './ballot.ts';
import { Ballot } from './ballot.ts';
import { finalFailure } from './failure.ts';

/** A package that policy approves by itself must not chase a cluster that never settles. */
const MAX_REPLANS = 10;

/** Anybody may say that the policy has changed; beyond this many plans it is found out at execution only. */
const MAX_POLICY_CHANGES = 100;

/** Whoever sends a vote without effect sees so in the Temporal UI; beyond this many a flood of them costs nothing. */
const MAX_REFUSED_TOLD = 50;

const EARLY: ReadonlySet<Phase> = new Set<Phase>(['verifying', 'planning']);
const NO_TALLY: Tally = { outcome: 'waiting', approvers: [], approvals: [], missing: 0, missingGroups: [] };
/** What requirements did not have that workers of version 0.1 made. */
const EARLIER: Pick<Requirement, 'groups' | 'maxClockSkewSeconds'> = { groups: [], maxClockSkewSeconds: 0 };

/** The state of one package's run and the rules of how it changes. What happens when is said in execute-wpk.ts. */
export class PackageRun {
  private phase: Phase = 'verifying';
  private readonly timeline: { phase: Phase; at: string }[] = [{ phase: 'verifying', at: now() }];
  private readonly ballot = new Ballot();
  private facts: PackageFacts | undefined;
  private currentPlan: Plan | undefined;
  private previousPlan: Plan | undefined;
  /** The current plan as Markdown, made once. */
  private shown: ShownPlan | undefined;
  private requirement: Requirement | undefined;
  private window: WindowState = { open: true };
  private answerBy: string | undefined;
  private report: ExecutionReport | undefined;
  private error: Failure | undefined;
  private stop: StopRequest | undefined;
  private replans = 0;
  private clusterChanges = 0;
  private policyChanges = 0;
  private refusedVotes = 0;
  private isOutdated = false;
  /** Set while there is an answer: tells whether all that had come in when it arose is settled. */
  private answered: (() => boolean) | undefined;
  private registered: readonly string[] = [];
  /** Until a worker has said otherwise. */
  private isEncrypted = true;

  /** @param how which search attributes this Temporal namespace knows, and whether what the run says is encrypted */
  admit(facts: PackageFacts, { searchAttributes, encrypted }: Omit<VerifyResult, 'facts'>): void {
    this.facts = facts;
    this.registered = searchAttributes;
    this.isEncrypted = encrypted ?? false;
    this.enter('planning', {
      [SEARCH_ATTRIBUTES.cluster]: facts.clusterId,
      [SEARCH_ATTRIBUTES.playbook]: facts.playbook,
    });
  }

  planned({ plan, requirement, window = { open: true } }: PlanResult): void {
    if (this.currentPlan && this.currentPlan.digest !== plan.digest) {
      this.previousPlan = this.currentPlan;
      this.replans += 1;
      this.answerBy = undefined;
      this.ballot.voidApprovals();
    }
    this.currentPlan = plan;
    this.shown = showPlan(plan, this.previousPlan);
    this.requirement = { ...EARLIER, ...requirement };
    this.window = window;
    this.isOutdated = false;
    this.weigh();
  }

  /** Opens the vote. Votes for an earlier plan stay recorded and bind nothing. */
  awaitAnswer(answerBy: string): void {
    this.answerBy = answerBy;
    this.enter('awaiting-approval');
  }

  /** When people must have answered about the plan as it is; planning it again without a change gives no more time. */
  deadlineFrom(answerBy: string): string {
    return this.answerBy ?? answerBy;
  }

  /** Approved, but not yet: people may still say no until execution begins. */
  awaitWindow(until: string): void {
    this.answerBy = until;
    this.refreshDetails();
  }

  windowOpened(): void {
    this.window = { open: true };
  }

  execute(): void {
    this.enter('executing');
  }

  /**
   * Back to planning: where the new plan is another, approvals of the old one are void.
   * @returns rejections that had come too late for an execution that did not begin, and hold now
   */
  sendBack(): readonly VoteRecord[] {
    const reopened = this.ballot.reopenRejections(this.context(true));
    this.weigh();
    this.enter('planning');
    return reopened;
  }

  /** Whether it is no use to go on, because the cluster changes each time. */
  neverSettles(): boolean {
    this.clusterChanges += 1;
    return this.clusterChanges > MAX_REPLANS;
  }

  /** Whether what was written is to be undone when the package fails. */
  rollsBack(): boolean {
    return this.facts?.onFailure === 'rollback';
  }

  finish(phase: EndPhase, report?: ExecutionReport, error?: Failure): void {
    this.report = report;
    this.error = error;
    this.enter(phase);
  }

  /** The last word before the end counts; where no stop follows, it meant nothing. */
  stopRequested(request: StopRequest): void {
    if (!isEnd(this.phase)) this.stop = request;
  }

  receive(decision: Decision, via: Receipt['via'], argument: unknown): ReceivedVote {
    return this.ballot.receive(decision, via, argument);
  }

  receiveUnknown(name: string): ReceivedVote | undefined {
    return this.ballot.receiveUnknown(name);
  }

  judge(received: ReceivedVote, proof: StatementProof | undefined): VoteRecord {
    const { decision } = received.message;
    const vote = this.ballot.judge(received, proof, this.context(this.takes(decision, received.receipt)));
    if (!vote.refused) this.changed();
    else if (this.refusedVotes++ < MAX_REFUSED_TOLD) this.refreshDetails();
    return vote;
  }

  settle(received: ReceivedVote, vote: VoteRecord, isRecorded: boolean): VoteRecord {
    const settled = this.ballot.settle(received, vote, isRecorded);
    if (settled !== vote) this.changed();
    return settled;
  }

  /** Told by the worker; what the policy says is found out by planning again. */
  policyChanged(argument: unknown): void {
    const told = typeof argument === 'object' && argument !== null && !isMalformed(argument) ? argument : {};
    const digest = 'policyDigest' in told ? told.policyDigest : undefined;
    if (this.phase !== 'awaiting-approval' || !isDigest(digest)) return;
    if (digest === this.currentPlan?.policyDigest || this.policyChanges >= MAX_POLICY_CHANGES) return;
    this.policyChanges += 1;
    this.isOutdated = true;
  }

  /** Whether the plan was made under a policy that holds no longer. */
  mustPlanAgain(): boolean {
    return this.isOutdated;
  }

  /**
   * Whether there is an answer: every vote that makes it is in the audit log, and so is whatever had come in before,
   * which might have made another one.
   */
  isAnswered(): boolean {
    return this.answered?.() === true && this.ballot.isRecorded;
  }

  isRejected(): boolean {
    return this.isAnswered() && this.count().outcome === 'rejected';
  }

  /** Tells, whenever it is asked, whether all that came in until now is checked and recorded. */
  settlement(): () => boolean {
    return this.ballot.settlement();
  }

  count(): Tally {
    return this.ballot.count(this.context(true)) ?? NO_TALLY;
  }

  status(): PackageStatus {
    const { approvers, missing, missingGroups } = this.count();
    return {
      phase: this.phase,
      since: this.timeline.at(-1)?.at ?? now(),
      timeline: this.timeline,
      approvers,
      votes: this.ballot.shown(this.context(true)),
      replans: this.replans,
      ...(this.facts && { facts: this.facts }),
      ...(this.currentPlan && { planDigest: this.currentPlan.digest, risk: this.currentPlan.risk.level }),
      ...(this.requirement && { requirement: this.requirement, missing, missingGroups }),
      ...(this.phase === 'awaiting-approval' && this.answerBy && { answerBy: this.answerBy }),
      ...(!this.window.open && { window: this.window }),
      ...(this.report && { report: this.report }),
      ...(this.error && { error: this.error }),
      ...(this.phase === 'stopped' && this.stop && { stop: this.stop }),
    };
  }

  plan(): Plan | undefined {
    return this.currentPlan;
  }

  /** The plan that the current one replaced. */
  replacedPlan(): Plan | undefined {
    return this.previousPlan;
  }

  /** Ends the run the way Temporal shows best: denied and failed as failed, stopped as cancelled, others as completed. */
  conclude(): PackageResult {
    if (!isEnd(this.phase)) throw finalFailure('INTERNAL', 'the run ended without an end');
    const result: PackageResult = {
      phase: this.phase,
      approvers: this.count().approvers,
      ...(this.facts && { wpkId: this.facts.wpkId }),
      ...(this.currentPlan && { planDigest: this.currentPlan.digest }),
      ...(this.report && { report: this.report }),
      ...(this.error && { error: this.error }),
    };
    if (this.phase === 'stopped') throw new CancelledFailure('stopped');
    if (this.phase !== 'denied' && this.phase !== 'failed') return result;
    const { code, message } = this.error ?? { code: 'INTERNAL', message: 'no reason was recorded' };
    throw finalFailure(code, message, result);
  }

  /** A rejection may come as soon as the package is known; an approval is of a plan that waits for one, and in time. */
  private takes(decision: Decision, { receivedAt }: Receipt): boolean {
    if (this.phase !== 'awaiting-approval') return decision === 'reject' && EARLY.has(this.phase);
    return this.answerBy === undefined || Date.parse(receivedAt) < Date.parse(this.answerBy);
  }

  private context(open: boolean): VoteContext {
    const { workflowId, runId } = workflowInfo();
    const { wpkDigest, author = '', signerFingerprint, signerIdentity } = this.facts ?? {};
    const { digest: planDigest, clusterUid, policyDigest } = this.currentPlan ?? {};
    const run = { workflowId, runId, wpkDigest, clusterUid, policyDigest };
    return { open, author, signerFingerprint, signerIdentity, planDigest, requirement: this.requirement, run };
  }

  private enter(phase: Phase, attributes: Record<string, string> = {}): void {
    this.phase = phase;
    this.timeline.push({ phase, at: now() });
    const risk = this.currentPlan && { [SEARCH_ATTRIBUTES.risk]: this.currentPlan.risk.level };
    this.setAttributes({ ...attributes, ...risk, [SEARCH_ATTRIBUTES.phase]: phase });
    this.refreshDetails();
  }

  /** Only votes with an effect change the count. */
  private changed(): void {
    this.weigh();
    this.refreshDetails();
  }

  private weigh(): void {
    const isAnswer = this.count().outcome !== 'waiting';
    this.answered = isAnswer ? (this.answered ?? this.ballot.settlement()) : undefined;
  }

  private refreshDetails(): void {
    const { workflowId } = workflowInfo();
    const status = this.status();
    const shown = this.isEncrypted
      ? renderDiscreetDetails(workflowId, status, this.shown)
      : renderDetails(workflowId, status, this.shown);
    setCurrentDetails(shown);
  }

  /** An attribute that the namespace lacks would fail the workflow task for ever, so those are left out. */
  private setAttributes(values: Record<string, string>): void {
    const known = Object.entries(values).filter(([name]) => this.registered.includes(name));
    if (known.length > 0) upsertSearchAttributes(Object.fromEntries(known.map(([name, value]) => [name, [value]])));
  }
}

function now(): string {
  return new Date().toISOString();
}
