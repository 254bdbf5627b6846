import type { DetailOf } from '../../domain/audit-catalogue.ts';
import { workflowIdOf } from '../../domain/names.ts';
import type { Witness } from '../temporal/witness.ts';
import { FINISH_WITHIN_MS } from './admission.ts';
import type { StateSecrets } from '../kubernetes/writer.ts';
import type { Claim, Claims } from './claims.ts';
import type { Locks } from './locks.ts';
import { forgetJournal, subjectOf } from './journal.ts';

export interface ReconcileDeps {
  readonly clusterId: string;
  readonly claims: Claims;
  readonly locks: Locks;
  readonly witness: Witness;
  readonly secrets: StateSecrets;
  readonly now: () => Date;
  /** Records what was found out about a package; the same finding, told again, counts once. */
  readonly record: (wpkId: string, claim: Claim, detail: DetailOf<'package.cut-off'>) => Promise<void>;
}

/** What one look at the claims came to. */
export interface Reconciled {
  readonly looked: number;
  /** Packages whose runs were ended from outside, which is now in the audit log. */
  readonly cutOff: readonly string[];
  /** Claims that are gone, because what they guard has long expired. */
  readonly forgotten: number;
  /** Packages that held objects and never will need them any more. */
  readonly freed: number;
}

/**
 * Compares the claims in the cluster with the runs that Temporal has. A run that was terminated, reset or wiped notices
 * nothing of it itself, so nobody would learn of it: it is written to the audit log here, and its package can't execute
 * any more, whoever brings the run back. Claims go once the package has expired and can't be under way either;
 * objects that such a run held are freed.
 * Throws TEMPORAL_UNAVAILABLE, KUBERNETES_UNAVAILABLE, AUDIT_UNAVAILABLE: the next look does the rest.
 */
export async function reconcileClaims(deps: ReconcileDeps): Promise<Reconciled> {
  const claims = await deps.claims.list(deps.clusterId);
  const cutOff: string[] = [];
  let forgotten = 0;
  for (const [wpkId, claim] of claims) {
    if (claim.ended === undefined && (await settle(deps, wpkId, claim)) === 'cut-off') cutOff.push(wpkId);
    if (deps.now().getTime() > Date.parse(claim.expiresAt) + FINISH_WITHIN_MS) {
      await deps.claims.forget(wpkId);
      forgotten += 1;
    }
  }
  const freed = await deps.locks.reconcile();
  await forgetUseless(deps, claims);
  return { looked: claims.size, cutOff, forgotten, freed };
}

/** What undoing needs is kept only as long as a package can be undone: not once it succeeded, was undone, or is forgotten. */
async function forgetUseless({ claims, secrets }: ReconcileDeps, known: ReadonlyMap<string, Claim>) {
  const kept = await secrets.subjects();
  for (const [wpkId, claim] of known) {
    const isOver = claim.ended === 'succeeded' || claim.undone !== undefined;
    if (kept.has(subjectOf(wpkId)) && (isOver || !(await claims.read(wpkId)))) await forgetJournal(secrets, wpkId);
  }
}

async function settle({ claims, witness, record, clusterId }: ReconcileDeps, wpkId: string, claim: Claim) {
  const run = { workflowId: workflowIdOf(clusterId, wpkId), runId: claim.runId };
  const fate = await witness.fateOf(run);
  if (fate === 'running') return 'running';
  // Execution may have ended, and said so, since the claim was read.
  const now = await claims.read(wpkId);
  if (!now || now.ended !== undefined) return 'ended';
  if (fate === 'ended') {
    await claims.markEnded(wpkId, 'settled');
    return 'ended';
  }
  await record(wpkId, now, { fate, executing: now.executing ?? null });
  await claims.markEnded(wpkId, 'cut-off');
  return 'cut-off';
}
