import type {
  Decision,
  Receipt,
  StatementProof,
  Tally,
  VoteContext,
  VoteMessage,
  VoteRecord,
} from '../domain/approvals.ts';
import { judgeVote, readVote, refusalOf, sameIdentity, tally } from '../domain/approvals.ts';

/** How many votes without effect the status shows, the newest. */
const MAX_REFUSED_VOTES = 50;

export interface ReceivedVote {
  readonly message: VoteMessage;
  readonly receipt: Receipt;
}

/** The votes of one run: from a message that comes in to what it counts for. */
export class Ballot {
  private votes: VoteRecord[] = [];
  /** Votes that are being checked or recorded. */
  private underWay = 0;

  /** Whether every vote that came in is checked, and in the audit log. */
  get isSettled(): boolean {
    return this.underWay === 0;
  }

  /** Takes a message in. It is a vote once `judge` has been told what its statement proves. */
  receive(decision: Decision, via: Receipt['via'], argument: unknown): ReceivedVote {
    this.underWay += 1;
    return { message: readVote(decision, via, argument), receipt: { receivedAt: new Date().toISOString(), via } };
  }

  /** Says what becomes of a vote. It is final once `settle` has been told that it is recorded. */
  judge({ message, receipt }: ReceivedVote, proof: StatementProof | undefined, context: VoteContext): VoteRecord {
    const judged = judgeVote(message, proof, receipt, context);
    const isTooLate = !judged.refused && judged.decision === 'approve' && this.count(context)?.outcome === 'approved';
    const vote = isTooLate
      ? { ...judged, refused: { code: 'APPROVAL_CLOSED', why: 'It is approved already.' } as const }
      : judged;
    this.keep(vote);
    return vote;
  }

  /** What could not be recorded has no effect. */
  settle(vote: VoteRecord, isRecorded: boolean): VoteRecord {
    this.underWay -= 1;
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
      const refused = vote.refused ?? refusalOf(vote, { ...context, open: true });
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
    if (!newer) this.votes = [...this.votes.filter((kept) => !isSame(kept)), vote];
  }
}
