import { CancelledFailure, setCurrentDetails, upsertSearchAttributes, workflowInfo } from '@temporalio/workflow';
import type { Decision, Tally, Vote, VoteRecord } from '../domain/approvals.ts';
import { parseVote, refusalOf, sameIdentity, tally } from '../domain/approvals.ts';
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
} from '../domain/status.ts';
import { isEnd } from '../domain/status.ts';
import type { ShownPlan } from '../domain/details.ts';
import { renderDetails, showPlan } from '../domain/details.ts';
import { SEARCH_ATTRIBUTES } from '../domain/names.ts';
import { finalFailure } from './failure.ts';

/** How many votes without effect `status` shows, the newest. */
const MAX_REFUSED_VOTES = 50;

const EARLY: ReadonlySet<Phase> = new Set<Phase>(['verifying', 'planning']);

/** The state of one package's run and the rules of how it changes. What happens when is said in execute-wpk.ts. */
export class PackageRun {
  private phase: Phase = 'verifying';
  private readonly timeline: { phase: Phase; at: string }[] = [{ phase: 'verifying', at: now() }];
  private facts: PackageFacts | undefined;
  private currentPlan: Plan | undefined;
  private previousPlan: Plan | undefined;
  /** The current plan as Markdown, made once. */
  private shown: ShownPlan | undefined;
  private requirement: Requirement | undefined;
  private answerBy: string | undefined;
  private report: ExecutionReport | undefined;
  private error: Failure | undefined;
  private votes: VoteRecord[] = [];
  /** Votes that are being recorded. */
  private unsettled = 0;
  private replans = 0;
  private registered: readonly string[] = [];

  /** @param registered the search attributes that this Temporal namespace knows. */
  admit(facts: PackageFacts, registered: readonly string[]): void {
    this.facts = facts;
    this.registered = registered;
    this.enter('planning', {
      [SEARCH_ATTRIBUTES.cluster]: facts.clusterId,
      [SEARCH_ATTRIBUTES.playbook]: facts.playbook,
    });
  }

  planned(plan: Plan, requirement: Requirement): void {
    this.previousPlan = this.currentPlan;
    this.currentPlan = plan;
    this.shown = showPlan(plan);
    this.requirement = requirement;
  }

  /** Opens the vote. Votes for an earlier plan stay recorded and bind nothing. */
  awaitAnswer(answerBy: string): void {
    this.answerBy = answerBy;
    this.enter('awaiting-approval');
  }

  execute(): void {
    this.enter('executing');
  }

  /** The cluster changed between approval and execution: back to planning, the approval is void. */
  sendBack(): void {
    this.replans += 1;
    this.enter('planning');
  }

  finish(phase: EndPhase, report?: ExecutionReport, error?: Failure): void {
    this.report = report;
    this.error = error;
    this.enter(phase);
  }

  /** Takes a message in and says what became of it. It is final once `settle` has been told that it is recorded. */
  vote(decision: Decision, via: VoteRecord['via'], argument: unknown): VoteRecord {
    const parsed = parseVote(decision, via, argument);
    const refused = 'malformed' in parsed ? parsed.malformed : this.judged(parsed);
    const vote = 'malformed' in parsed ? { decision, approver: 'unknown', proof: 'asserted' as const } : parsed;
    const record: VoteRecord = { receivedAt: now(), via, ...vote, ...(refused && { refused }) };
    this.unsettled += 1;
    this.keep(record);
    return record;
  }

  /** What could not be recorded has no effect. */
  settle(vote: VoteRecord, recorded: boolean): VoteRecord {
    this.unsettled -= 1;
    if (recorded || vote.refused) return vote;
    const voided: VoteRecord = {
      ...vote,
      refused: { code: 'AUDIT_UNAVAILABLE', why: 'The vote could not be recorded.' },
    };
    const index = this.votes.indexOf(vote);
    if (index >= 0) this.votes[index] = voided;
    this.refreshDetails();
    return voided;
  }

  /** Whether there is an answer, and every vote that makes it is in the audit log. */
  isAnswered(): boolean {
    return this.unsettled === 0 && this.count().outcome !== 'waiting';
  }

  count(): Tally {
    if (!this.requirement) return { outcome: 'waiting', approvers: [], missing: 0 };
    const digest = this.currentPlan?.digest;
    // Approvals of an earlier plan are void; a rejection stays one.
    const current = this.votes.filter(({ planDigest, decision }) => decision === 'reject' || planDigest === digest);
    return tally(current, this.requirement);
  }

  status(): PackageStatus {
    const { approvers, missing } = this.count();
    return {
      phase: this.phase,
      since: this.timeline.at(-1)?.at ?? now(),
      timeline: this.timeline,
      approvers,
      votes: this.votes,
      replans: this.replans,
      ...(this.facts && { facts: this.facts }),
      ...(this.currentPlan && { planDigest: this.currentPlan.digest, risk: this.currentPlan.risk.level }),
      ...(this.requirement && { requirement: this.requirement, missing }),
      ...(this.phase === 'awaiting-approval' && this.answerBy && { answerBy: this.answerBy }),
      ...(this.report && { report: this.report }),
      ...(this.error && { error: this.error }),
    };
  }

  plan(): Plan | undefined {
    return this.currentPlan;
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

  private judged(vote: Vote): VoteRecord['refused'] {
    if (vote.decision === 'approve' && this.count().outcome === 'approved') {
      return { code: 'APPROVAL_CLOSED', why: 'It is approved already.' };
    }
    return refusalOf(vote, {
      // A rejection may come as soon as the package is known; an approval is of a plan that waits for one.
      open: this.phase === 'awaiting-approval' || (vote.decision === 'reject' && EARLY.has(this.phase)),
      author: this.facts?.author ?? '',
      planDigest: this.currentPlan?.digest,
      requirement: this.requirement,
    });
  }

  /**
   * Keeps a vote for the status. A flood must not outgrow it: of votes without effect the newest are kept, of those with
   * one the newest of each person; the audit log has them all. Only votes with an effect change what the UI shows.
   */
  private keep(vote: VoteRecord): void {
    const isReplaced = (older: VoteRecord) =>
      vote.refused
        ? false
        : !older.refused && sameIdentity(older.approver, vote.approver) && older.decision === vote.decision;
    const kept = this.votes.filter((older) => !isReplaced(older));
    const oldest =
      kept.filter(({ refused }) => refused).length >= MAX_REFUSED_VOTES && kept.find(({ refused }) => refused);
    this.votes = [...kept.filter((older) => !(vote.refused && older === oldest)), vote];
    if (!vote.refused) this.refreshDetails();
  }

  private enter(phase: Phase, attributes: Record<string, string> = {}): void {
    this.phase = phase;
    this.timeline.push({ phase, at: now() });
    const risk = this.currentPlan && { [SEARCH_ATTRIBUTES.risk]: this.currentPlan.risk.level };
    this.setAttributes({ ...attributes, ...risk, [SEARCH_ATTRIBUTES.phase]: phase });
    this.refreshDetails();
  }

  private refreshDetails(): void {
    const { workflowId } = workflowInfo();
    setCurrentDetails(renderDetails(workflowId, this.status(), this.shown, this.previousPlan?.digest));
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
