import { CancelledFailure, Context } from '@temporalio/activity';
import type { StatementProof } from '../domain/approvals.ts';
import { ConnectorError } from '../domain/errors.ts';
import type { FreezeState } from '../domain/freeze.ts';
import { describeFreeze } from '../domain/freeze.ts';
import { EXECUTE_WPK } from '../domain/names.ts';
import type { WindowState } from '../domain/maintenance-windows.ts';
import { windowState } from '../domain/maintenance-windows.ts';
import type { Plan } from '../domain/plan.ts';
import type { Requirement } from '../domain/policy.ts';
import { requirementFor } from '../domain/policy.ts';
import type { PackageFacts, Progress, RollbackOutcome } from '../domain/status.ts';
import type { SignedWpk } from '../domain/wpk.ts';
import { toApplicationFailure } from './failure.ts';
import type { AdmittedWpk } from './package/admission.ts';
import { payloadDigest } from './package/admission.ts';
import type { Caller } from './package/authorization.ts';
import { assertAtHome, assertCaller, assertEnd, assertPackageRun, packageOf } from './package/authorization.ts';
import type { ExecuteInput, ExecuteOutcome, ExecutionContext, ExecutionDeps } from './package/execution.ts';
import { executePlan, ExecutionFailed } from './package/execution.ts';
import { makePlan } from './package/planning.ts';
import type { Reconciled, ReconcileDeps } from './package/reconcile.ts';
import { reconcileClaims } from './package/reconcile.ts';
import type { AuditWriter, RunEvent, VoteEvent } from './package/records.ts';
import { endOf, PackageRecords } from './package/records.ts';
import type { RollbackInput } from './package/rollback.ts';
import { rollBack, RollbackFailed } from './package/rollback.ts';

export interface VerifyResult {
  readonly facts: PackageFacts;
  /** The search attributes that the Temporal namespace knows; setting another would fail the workflow task. */
  readonly searchAttributes: readonly string[];
  /** Set where payloads are encrypted: the run then says nothing where Temporal's UI would pass it on in clear. */
  readonly encrypted?: true;
}

export interface PlanResult {
  readonly plan: Plan;
  readonly requirement: Requirement;
  /** Absent in results of workers before there were maintenance windows. */
  readonly window?: WindowState;
}

/** What the pipeline can do, as the workflow calls it. Each takes and returns one object, so that fields can grow. */
export interface Activities {
  /** Signature, form, validity, cluster, policy; then the id is claimed for this run. */
  verifyPackage(input: { signed: SignedWpk }): Promise<VerifyResult>;
  /** What the package would change, judged. Reads and dry-runs only. */
  planPackage(input: { signed: SignedWpk }): Promise<PlanResult>;
  /** Who signed what, for each signed statement that came as a vote; reads keys and policy, and decides nothing. */
  verifyStatements(input: { statements: readonly unknown[] }): Promise<{ proofs: readonly StatementProof[] }>;
  /** The only activity that changes the cluster. */
  executePackage(input: ExecuteInput): Promise<ExecuteOutcome>;
  /** Undoes what a package has written that failed or was stopped. */
  rollbackPackage(input: RollbackInput): Promise<RollbackOutcome>;
  recordEvents(input: { events: readonly RunEvent[] }): Promise<void>;
  /** Compares the claims in the cluster with the runs that Temporal has. */
  reconcilePackages(input: object): Promise<Reconciled>;
}

export interface ActivityDeps extends ExecutionDeps {
  /** The queue that this worker's own workflows run on. */
  readonly taskQueue: string;
  readonly searchAttributes: readonly string[];
  /** Whether what this worker tells Temporal is encrypted. */
  readonly isEncrypted: boolean;
  /** Whether execution is frozen, as far as is known here. */
  readonly freeze: () => FreezeState;
  readonly audit: AuditWriter;
  /** Told when the run of a package has ended. */
  readonly onEnded: () => void;
  /** Tells whoever is on call; the error's cause goes to the log and nowhere else. */
  readonly onTrouble: (trouble: Trouble) => void;
}

/** `away` and `waiting` are tried again; the others want somebody's attention. */
export type TroubleKind = 'away' | 'waiting' | 'refused' | 'package-failed' | 'cut-off';

export interface Trouble {
  readonly trouble: TroubleKind;
  readonly activity: string;
  readonly caller: Caller;
  readonly error: unknown;
}

/** How often a running execution reports; a stop is heard with the answer to such a report. */
const HEARTBEAT_MS = 250;

export function createActivities(deps: ActivityDeps): Activities {
  const { audit, sha256 } = deps;
  const recordsFor = (caller: Caller) => (admitted: AdmittedWpk) =>
    new PackageRecords(audit, sha256, caller, { wpk: admitted.wpk.metadata.id, wpkDigest: admitted.wpkDigest });

  /** Local activities are scheduled by a workflow task of our own worker; of any other call Temporal is asked. */
  async function assertHome(caller: Caller): Promise<void> {
    if (!Context.current().info.isLocal) await assertAtHome(deps.witness, caller, deps.taskQueue);
  }

  /** Records and reports what went wrong, and hands it to Temporal. What is merely away is retried and no refusal. */
  async function fail(activity: keyof Activities, signed: SignedWpk | undefined, error: unknown): Promise<never> {
    const caller = currentCaller();
    const isForeign = error instanceof ConnectorError && error.code === 'CALLER_UNTRUSTED';
    // What was ended while the worker drains has ended: the next attempt could not tell what was done.
    if (Context.current().cancellationSignal.aborted && !isForeign && !isOutcome(error)) {
      if (stopRequested()) throw new CancelledFailure('stopped');
      throw toApplicationFailure(new ConnectorError('WORKER_DRAINING'));
    }
    const trouble = troubleOf(error);
    deps.onTrouble({ trouble, activity, caller, error });
    if (trouble === 'refused') await recordRefusal(activity, caller, signed, error);
    throw toApplicationFailure(error, detailsOf(error));
  }

  async function recordRefusal(
    activity: string,
    caller: Caller,
    signed: SignedWpk | undefined,
    error: unknown,
  ): Promise<void> {
    const { code, detail } = error instanceof ConnectorError ? error : { code: 'INTERNAL', detail: '' };
    const wpkDigest = payloadDigest(signed, sha256);
    const records = new PackageRecords(audit, sha256, caller, wpkDigest ? { wpkDigest } : {});
    const told = { activity, code, detail, workflowType: caller.workflowType };
    try {
      await records.write('call.refused', 'refused', told, { key: `${activity}/${code}/${wpkDigest ?? ''}` });
    } catch (unrecorded) {
      throw toApplicationFailure(unrecorded); // tried again until it is in the log
    }
  }

  /** Runs an activity: kept alive, for a run that is at home here, and with everything that goes wrong recorded. */
  async function run<T>(
    activity: keyof Activities,
    signed: SignedWpk | undefined,
    work: (caller: Caller) => Promise<T>,
    details?: () => unknown,
  ): Promise<T> {
    const stop = keepAlive(details);
    try {
      const caller = currentCaller();
      if (activity !== 'reconcilePackages') assertPackageRun(caller, deps.clusterId); // before a word about what was sent
      await assertHome(caller);
      return await work(caller);
    } catch (error) {
      return fail(activity, signed, error);
    } finally {
      stop();
    }
  }

  /** Runs what changes the cluster: told of stops, with its progress in the heartbeats. */
  function writing<T>(
    activity: keyof Activities,
    signed: SignedWpk | undefined,
    work: (context: ExecutionContext) => Promise<T>,
  ): Promise<T> {
    let progress: Progress | undefined;
    const carryOut = (caller: Caller) =>
      work({
        caller,
        signal: Context.current().cancellationSignal,
        stopRequested,
        attempt: Context.current().info.attempt,
        scheduledAt: Context.current().info.currentAttemptScheduledTimestampMs,
        onProgress: (now) => (progress = now),
        recordsFor: recordsFor(caller),
      });
    return run(activity, signed, carryOut, () => progress);
  }

  /** Who calls may be anybody: what is recorded as verified was verified here, all votes of a call in one go. */
  async function proofsOf(events: readonly RunEvent[]): Promise<ReadonlyMap<RunEvent, StatementProof | undefined>> {
    const signed = events.filter((event): event is VoteEvent => event.type === 'vote' && event.statement !== undefined);
    const proofs = signed.length > 0 ? await deps.prove(signed.map(({ statement }) => statement)) : [];
    return new Map(signed.map((event, index) => [event, proofs[index]]));
  }

  return {
    async verifyPackage(input) {
      const { signed } = given(input);
      return run('verifyPackage', signed, async (caller) => {
        const admitted = await deps.admit(signed);
        const { facts, wpkDigest } = admitted;
        assertCaller(caller, deps.clusterId, facts.wpkId);
        if (admitted.policy.policy.onFreeze === 'deny') assertNoFreeze(deps.freeze());
        const { workflowId, runId } = caller;
        await deps.claims.claim(facts.wpkId, { workflowId, runId, wpkDigest, expiresAt: facts.expiresAt });
        const { signedBy, name, playbook, author } = facts;
        await recordsFor(caller)(admitted).write('package.verified', 'succeeded', { signedBy, name, playbook, author });
        return { facts, searchAttributes: deps.searchAttributes, ...(deps.isEncrypted && { encrypted: true }) };
      });
    },

    async planPackage(input) {
      const { signed } = given(input);
      return run('planPackage', signed, async (caller) => {
        const admitted = await deps.admit(signed);
        assertCaller(caller, deps.clusterId, admitted.facts.wpkId);
        const { plan } = await makePlan(deps.planner, sha256, admitted, Context.current().cancellationSignal);
        const requirement = requirementFor(admitted.policy.policy, admitted.wpk, admitted.stepsDigest, plan);
        const { level, findings } = plan.risk;
        await recordsFor(caller)(admitted).write(
          'package.planned',
          'succeeded',
          {
            risk: level,
            rules: [...new Set(findings.map(({ rule }) => rule))],
            objects: plan.objects.length,
            problems: plan.problems.length,
          },
          { planDigest: plan.digest, key: plan.digest },
        );
        return { plan, requirement, window: windowState(admitted.policy.policy, admitted.wpk, deps.now()) };
      });
    },

    async verifyStatements(input) {
      const { statements = [] } = given(input);
      return run('verifyStatements', undefined, async () => ({ proofs: await deps.prove(statements) }));
    },

    executePackage: (input) =>
      writing('executePackage', given(input).signed, (context) => executePlan(deps, input, context)),

    rollbackPackage: (input) => {
      const { signed, by, statement } = given(input);
      return writing('rollbackPackage', signed, (context) => rollBack(deps, { signed, by, statement }, context));
    },

    async recordEvents(input) {
      const { events = [] } = given(input);
      return run('recordEvents', undefined, async (caller) => {
        const wpk = packageOf(caller, deps.clusterId);
        const records = new PackageRecords(audit, sha256, caller, { wpk });
        const proofs = await proofsOf(events);
        for (const event of events) {
          if (event.type === 'vote') {
            await records.vote(event.vote, event.statement, proofs.get(event));
          } else {
            await assertEnd(deps.claims, caller, wpk, endOf(event.status));
            await records.ended(event.status);
            deps.onEnded();
          }
        }
      });
    },

    async reconcilePackages() {
      return run('reconcilePackages', undefined, async () => {
        const { clusterId, claims, locks, secrets, witness, now } = deps;
        const record: ReconcileDeps['record'] = async (wpkId, { workflowId, runId, wpkDigest }, detail) => {
          const records = new PackageRecords(audit, sha256, { workflowId, runId }, { wpk: wpkId, wpkDigest });
          await records.write('package.cut-off', 'failed', detail);
          const caller = { workflowId, runId, workflowType: EXECUTE_WPK };
          const error = new ConnectorError('RUN_CUT_OFF');
          deps.onTrouble({ trouble: 'cut-off', activity: 'reconcilePackages', caller, error });
        };
        return await reconcileClaims({ clusterId, claims, locks, secrets, witness, now, record });
      });
    },
  };
}

/** What a stranger sends may be nothing at all; it is then refused, recorded and told like any other input without fields. */
function given<T extends object>(input: T | undefined): Partial<T> {
  return typeof input === 'object' && input !== null ? input : {};
}

function isOutcome(error: unknown): error is ExecutionFailed | RollbackFailed {
  return error instanceof ExecutionFailed || error instanceof RollbackFailed;
}

/** What travels with a failure: what was done, or what an attempt that comes again waits for. */
function detailsOf(error: unknown): object | undefined {
  if (error instanceof ExecutionFailed) return { report: error.report };
  if (error instanceof RollbackFailed) return { undo: error.undo };
  return isWaiting(error) ? { waitingFor: error.detail } : undefined;
}

/** Whether nothing is wrong, and only others have to act first. */
function isWaiting(error: unknown): error is ConnectorError {
  return error instanceof ConnectorError && (error.code === 'FROZEN' || error.code === 'OBJECTS_LOCKED');
}

/** @throws {ConnectorError} FREEZE_DENIES */
function assertNoFreeze(freeze: FreezeState): void {
  if (freeze.state === 'frozen') throw new ConnectorError('FREEZE_DENIES', `It is frozen ${describeFreeze(freeze)}.`);
}

function troubleOf(error: unknown): TroubleKind {
  if (isWaiting(error)) return 'waiting';
  if (error instanceof ConnectorError && error.traits.retryable) return 'away';
  return isOutcome(error) ? 'package-failed' : 'refused';
}

function currentCaller(): Caller {
  const { workflowExecution, workflowType } = Context.current().info;
  return {
    workflowId: workflowExecution?.workflowId ?? '',
    runId: workflowExecution?.runId ?? '',
    workflowType: workflowType ?? '',
  };
}

/** A worker that drains, or a pause of the activity, aborts it too; the work then goes on elsewhere or later. */
function stopRequested(): boolean {
  return Context.current().cancellationDetails?.cancelRequested === true;
}

/** Heartbeats while the activity runs: they bring cancellations here and carry the progress out. */
function keepAlive(details: () => unknown = () => undefined): () => void {
  const context = Context.current();
  if (context.info.isLocal) return () => undefined; // the workflow task that it runs in is kept alive instead
  const timer = setInterval(() => context.heartbeat(details()), HEARTBEAT_MS);
  return () => clearInterval(timer);
}
