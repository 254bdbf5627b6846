import type {
  Decision,
  Receipt,
  StatementProof,
  VoteContext,
  VoteMessage,
  VoteRecord,
  VoteRefusal,
} from '../domain/approvals.ts';
import { judgeVote, refusalOf } from '../domain/approvals.ts';
import type { Tally } from '../domain/tally.ts';
import { tally } from '../domain/tally.ts';
import { readVote, voteByUnknownName } from '../domain/vote-message.ts';
import { sameIdentity } from '../domain/identity.ts';

/** How many votes without effect the status shows, the newest. */
const MAX_REFUSED_VOTES = 50;
const MAX_BARE_REJECTIONS = 50;

/** How many signals by unknown names one run records: who slips sends few, who means harm sends many. */
const MAX_UNKNOWN_SIGNALS = 20;

export interface ReceivedVote {
  readonly message: VoteMessage;
  readonly receipt: Receipt;
}

/** The votes of one run: from a message that comes in to what it counts for. */
export class Ballot {
  private votes: VoteRecord[] = [];
  private unknownSignals = 0;
  /** Messages that are being checked or recorded, with what they are judged to be. */
  private readonly underWay = new Map<ReceivedVote, VoteRecord | undefined>();

  /**
   * Tells, whenever it is asked, whether all that has come in until now is checked, and in the audit log. What comes in
   * later is not waited for: whoever keeps sending could otherwise keep an answer from ever being one.
   */
  settlement(): () => boolean {
    const awaited = [...this.underWay.keys()];
    return () => !awaited.some((one) => this.underWay.has(one));
  }

  /** Whether every vote with an effect is in the audit log. */
  get isRecorded(): boolean {
    return ![...this.underWay.values()].some((vote) => vote && !vote.refused);
  }

  /** Takes a message in. It is a vote once `judge` has been told what its statement proves. */
  receive(decision: Decision, via: Receipt['via'], argument: unknown): ReceivedVote {
    return this.takeIn(readVote(decision, via, argument), via);
  }

  /** A signal by a name that there is not; undefined for one more than are recorded. */
  receiveUnknown(name: string): ReceivedVote | undefined {
    if (this.unknownSignals >= MAX_UNKNOWN_SIGNALS) return undefined;
    this.unknownSignals += 1;
    return this.takeIn(voteByUnknownName(name), 'signal');
  }

  private takeIn(message: VoteMessage, via: Receipt['via']): ReceivedVote {
    const received = { message, receipt: { receivedAt: new Date().toISOString(), via } };
    this.underWay.set(received, undefined);
    return received;
  }

  /** Says what becomes of a vote. It is final once `settle` has been told that it is recorded. */
  judge(received: ReceivedVote, proof: StatementProof | undefined, context: VoteContext): VoteRecord {
    const judged = judgeVote(received.message, proof, received.receipt, context);
    const refused = judged.refused ?? this.refusalByOthers(judged, context);
    const vote = refused ? { ...judged, refused } : judged;
    this.keep(vote);
    this.underWay.set(received, vote);
    return vote;
  }

  /** Why the votes that are there leave none for this one. */
  private refusalByOthers(vote: VoteRecord, context: VoteContext): VoteRefusal | undefined {
    const newer = this.votes.find(
      (kept) =>
        !kept.refused &&
        Date.parse(kept.at) > Date.parse(vote.at) &&
        kept.decision !== vote.decision &&
        sameIdentity(kept.approver, vote.approver),
    );
    if (newer) return { code: 'APPROVAL_SUPERSEDED', why: `It is of ${vote.at}, the newer one of ${newer.at}.` };
    if (vote.decision === 'reject' || this.count(context)?.outcome !== 'approved') return undefined;
    return { code: 'APPROVAL_CLOSED', why: 'It is approved already.' };
  }

  /** Another plan takes the place of the one that was voted on: approvals of that are void, a rejection stays one. */
  voidApprovals(): void {
    const refused = { code: 'APPROVAL_PLAN_MISMATCH', why: 'The plan that it was for was replaced.' } as const;
    this.votes = this.votes.map((vote) => (vote.refused || vote.decision === 'reject' ? vote : { ...vote, refused }));
  }

  /**
   * What people were too late to reject did not begin: those who said no meanwhile are in time after all, for what writes
   * counts them too.
   * @returns the votes that have an effect now
   */
  reopenRejections(context: VoteContext): readonly VoteRecord[] {
    const reopened = new Map<VoteRecord, VoteRecord>();
    for (const vote of this.votes) {
      const { refused, ...asked } = vote;
      if (vote.decision !== 'reject' || refused?.code !== 'APPROVAL_CLOSED') continue;
      const still = refusalOf(asked, { ...context, open: true });
      reopened.set(vote, still ? { ...asked, refused: still } : asked);
    }
    this.votes = this.votes.map((vote) => reopened.get(vote) ?? vote);
    return [...reopened.values()].filter(({ refused }) => !refused);
  }

  /** What could not be recorded has no effect. */
  settle(received: ReceivedVote, vote: VoteRecord, isRecorded: boolean): VoteRecord {
    this.underWay.delete(received);
    if (isRecorded || vote.refused) return vote;
    const refused = { code: 'AUDIT_UNAVAILABLE', why: 'The vote could not be recorded.' } as const;
    const voided: VoteRecord = { ...vote, refused };
    this.votes = this.votes.map((kept) => (kept === vote ? voided : kept));
    return voided;
  }

  /** Counts as things stand: approvals of an earlier plan are void; undefined while nobody knows what is required. */
  count(context: VoteContext): Tally | undefined {
    const { requirement } = context;
    return requirement && tally(this.shown(context), requirement);
  }

  /** All votes that are kept, each with the reason why it has no effect now, if it has none. */
  shown(context: VoteContext): readonly VoteRecord[] {
    return this.votes.map((vote) => {
      // A no that was taken holds, also for the plans that come after the one that it was for.
      const asked = vote.decision === 'reject' ? withoutPlan(vote) : vote;
      const refused = vote.refused ?? refusalOf(asked, { ...context, open: true });
      return refused ? { ...vote, refused } : vote;
    });
  }

  /**
   * Keeps a vote for the status. A flood must not outgrow it: of votes without effect the newest are kept, of those
   * with one the newest yes and no of each person; the audit log has them all.
   */
  private keep(vote: VoteRecord): void {
    if (vote.refused) {
      const refused = this.votes.filter((kept) => kept.refused);
      const oldest = refused.length >= MAX_REFUSED_VOTES ? refused[0] : undefined;
      this.votes = [...this.votes.filter((kept) => kept !== oldest), vote];
      return;
    }
    const isSame = (kept: VoteRecord) =>
      !kept.refused &&
      kept.decision === vote.decision &&
      kept.planDigest === vote.planDigest &&
      sameIdentity(kept.approver, vote.approver);
    const newer = this.votes.find((kept) => isSame(kept) && Date.parse(kept.at) > Date.parse(vote.at));
    if (!newer) this.votes = this.withoutFlood([...this.votes.filter((kept) => !isSame(kept)), vote]);
  }

  /** Before policy says what counts anybody's bare no is kept, under whatever name: the newest few are enough. */
  private withoutFlood(votes: readonly VoteRecord[]): VoteRecord[] {
    const bare = votes.filter(
      ({ proof, decision, refused }) => proof === 'asserted' && decision === 'reject' && !refused,
    );
    const oldest = bare.length > MAX_BARE_REJECTIONS ? bare[0] : undefined;
    return votes.filter((vote) => vote !== oldest);
  }
}

function withoutPlan({ planDigest: _, ...vote }: VoteRecord): VoteRecord {
  return vote;
}
