import { Client, Connection, WorkflowFailedError, WorkflowNotFoundError } from '@temporalio/client';
import type { ConnectionLike, WorkflowExecutionDescription, WorkflowHandle } from '@temporalio/client';
import type { DataConverter } from '@temporalio/common';
import { ApplicationFailure, CancelledFailure } from '@temporalio/common';
import { decodeArrayFromPayloads } from '@temporalio/common/lib/internal-non-workflow/index.js';
import { ulid } from 'ulid';
import type { Approve, Reject } from '../domain/approvals.ts';
import type { AuditRead, PayloadRead } from '../domain/audit-read.ts';
import { AUDIT_READ, PAYLOAD_READ } from '../domain/audit-read.ts';
import { ConnectorError, ERRORS, isErrorCode } from '../domain/errors.ts';
import type { Malformed } from '../domain/malformed.ts';
import { isSealed, sealed } from '../domain/malformed.ts';
import {
  EXECUTE_WPK,
  ROLLBACK_WPK,
  rollbackIdOf,
  scheduleIdOf,
  SEARCH_ATTRIBUTES,
  taskQueueOf,
  workflowIdOf,
} from '../domain/names.ts';
import type { Plan } from '../domain/plan.ts';
import type { PackageResult, PackageStatus, RollbackOutcome, RollbackRequest, StopRequest } from '../domain/status.ts';
import { isEnd } from '../domain/status.ts';
import type { SignedWpk } from '../domain/wpk.ts';
import { dataConverter, encrypts } from './data-converter/index.ts';
import { followConnection } from './following-connection.ts';
import { inBatches } from './in-batches.ts';
import { isDeadlineExceeded, isUnreadableRun, toConnectorError } from './errors.ts';
import type { PackageView, RollbackView, Work } from './package-view.ts';
import { attributeOf, sealedStatusOf, viewOf, workOf } from './package-view.ts';
import { summarise } from './summarise.ts';

export interface SubmittedPackage {
  readonly wpkId: string;
  readonly workflowId: string;
  readonly runId: string;
}

export interface ListedPackage extends SubmittedPackage {
  readonly phase: string | undefined;
  readonly risk: string | undefined;
  readonly playbook: string | undefined;
  readonly startedAt: string;
  readonly closedAt: string | undefined;
}

/** What Temporal's list does not hold of a package, and people want to see in one. */
export type ListedNow = Pick<PackageStatus, 'missing' | 'window'> & Work & { readonly rollback?: RollbackView };

/** How a package ended that was stopped, or had ended before. */
export interface StoppedPackage extends PackageResult {
  /** Set where it was being rolled back; `sealed` where how that came out is encrypted for others. */
  readonly rollback?: RollbackOutcome | 'sealed';
}

type RollbackWorkflow = (input: { readonly signed: SignedWpk } & RollbackRequest) => Promise<RollbackOutcome>;

/** What the library is told beside where Temporal is. */
export interface ClientOptions {
  /**
   * Reads and writes payloads; for those who have the cluster's keys (`encryptingConverter`). Without it packages and votes
   * are sent as they are, and where the cluster encrypts what it tells, little of that can be read (docs/data-protection.md).
   */
  readonly dataConverter?: DataConverter;
}

/** How often `watch` looks, ms. */
const WATCH_INTERVAL_MS = 300;

/** How long a query may take before it counts as unanswered, ms. */
const ANSWERED_WITHIN_MS = 10_000;

/** How long a stop waits until Temporal has taken down who wants it and why, ms. */
const TOLD_WITHIN_MS = 2_000;
/** The same for what a list can do without, ms. */
const LISTED_WITHIN_MS = 2_000;

/** How many packages of a list are asked at once. */
const ASKED_AT_ONCE = 16;

/** How long a stop waits to be acknowledged, ms: a killed worker's task comes back to another within this time. */
const STOPPED_WITHIN_MS = 30_000;

/**
 * What a control plane and the `byoc` command use: submits packages to one cluster's connector and follows them.
 * Every method throws a ConnectorError: TEMPORAL_UNAVAILABLE, WORKER_UNAVAILABLE, WPK_NOT_FOUND, or what is named there.
 */
export class ConnectorClient {
  readonly client: Client;
  readonly clusterId: string;
  private readonly underWay = new Set<Promise<unknown>>();

  /** @param connection to Temporal; a worker's own connection lets a package start without a round trip. */
  constructor(options: ClientOptions & { connection: ConnectionLike; namespace: string; clusterId: string }) {
    const { connection, namespace, clusterId } = options;
    this.client = new Client({ connection, namespace, dataConverter: options.dataConverter ?? dataConverter });
    this.clusterId = clusterId;
  }

  /**
   * Connects as every Temporal client does: `TEMPORAL_ADDRESS`, `TEMPORAL_NAMESPACE`, TLS and API-key settings, profiles. When
   * the certificates or the API key change on disk, a new connection takes over.
   * @param converterFor makes the converter for the namespace that is found
   * @throws {ConnectorError} CONFIG_INVALID, TEMPORAL_UNAVAILABLE
   */
  static async connect(
    clusterId: string,
    env: Record<string, string | undefined>,
    converterFor: (namespace: string) => ClientOptions['dataConverter'] = () => undefined,
  ): Promise<ConnectorClient> {
    const { connection, settings } = await followConnection({
      env,
      connect: ({ connectionOptions }) => Connection.connect(connectionOptions),
      prototype: Connection.prototype,
    });
    const converter = converterFor(settings.namespace);
    return new ConnectorClient({
      ...{ connection, namespace: settings.namespace, clusterId },
      ...(converter && { dataConverter: converter }),
    });
  }

  /**
   * Starts the one run that the package may ever have. Nothing is checked here: that is the cluster's business.
   * @throws {ConnectorError} WPK_ALREADY_USED
   */
  async submit(signed: SignedWpk): Promise<SubmittedPackage> {
    const { wpkId, summary } = summarise(signed);
    const workflowId = workflowIdOf(this.clusterId, wpkId);
    const handle = await this.call(wpkId, () =>
      this.client.workflow.start(EXECUTE_WPK, {
        args: [signed],
        workflowId,
        taskQueue: taskQueueOf(this.clusterId, 'execution'),
        workflowIdReusePolicy: 'REJECT_DUPLICATE',
        workflowIdConflictPolicy: 'FAIL',
        // The UI has its server turn a summary into a page, in clear also where payloads are encrypted.
        ...(!encrypts(this.client.options.loadedDataConverter) && { staticSummary: summary }),
        // A worker's own connection can take the first task along; a client's cannot.
        requestEagerStart: !(this.client.connection instanceof Connection),
      }),
    );
    return { wpkId, workflowId, runId: handle.firstExecutionRunId };
  }

  /** Where the answer is encrypted for others, or the worker has no key for the run, what Temporal itself knows, as `sealed`. */
  async get(wpkId: string): Promise<PackageView> {
    const handle = this.handle(wpkId);
    const [answer, description] = await this.call(wpkId, () => Promise.all([this.statusOf(handle), handle.describe()]));
    if (description.type !== EXECUTE_WPK) throw new ConnectorError('WPK_NOT_FOUND', wpkId);
    const status = isSealed(answer) ? sealedStatusOf(description) : answer;
    const view = await this.call(wpkId, () =>
      viewOf(wpkId, status, description, this.client.options.loadedDataConverter),
    );
    if (status.phase !== 'failed' && status.phase !== 'stopped') return view;
    const rollback = await this.call(wpkId, () => this.rollbackOf(wpkId));
    return rollback ? { ...view, rollback } : view;
  }

  private async statusOf(handle: WorkflowHandle, withinMs?: number): Promise<PackageStatus | Malformed> {
    try {
      return await this.answered(() => handle.query<PackageStatus | Malformed>('status'), withinMs);
    } catch (error) {
      if (isUnreadableRun(error)) return sealed();
      throw error;
    }
  }

  /** The current plan, or undefined while there is none. @throws {ConnectorError} PAYLOAD_SEALED */
  async plan(wpkId: string): Promise<Plan | undefined> {
    return this.planBy('plan', wpkId);
  }

  /**
   * The plan that the current one replaced, because the cluster or the policy changed; undefined where none was.
   * @throws {ConnectorError} PAYLOAD_SEALED
   */
  async replacedPlan(wpkId: string): Promise<Plan | undefined> {
    return this.planBy('replacedPlan', wpkId);
  }

  private planBy(query: 'plan' | 'replacedPlan', wpkId: string): Promise<Plan | undefined> {
    return this.call(wpkId, async () =>
      readable(await this.answered(() => this.handle(wpkId).query<Plan | undefined>(query))),
    );
  }

  /** The newest packages of the cluster. */
  async list({ limit = 50 }: { limit?: number } = {}): Promise<ListedPackage[]> {
    return this.call('', async () => {
      const prefix = workflowIdOf(this.clusterId, '');
      const query = `WorkflowType = '${EXECUTE_WPK}' AND WorkflowId STARTS_WITH '${prefix}'`;
      const found: ListedPackage[] = [];
      for await (const one of this.client.workflow.list({ query, pageSize: limit })) {
        if (found.length === limit) break;
        found.push({
          wpkId: one.workflowId.slice(prefix.length),
          workflowId: one.workflowId,
          runId: one.runId,
          // A run that failed before it could say where it stands was denied.
          phase: attributeOf(one, SEARCH_ATTRIBUTES.phase) ?? (one.status.name === 'FAILED' ? 'denied' : undefined),
          risk: attributeOf(one, SEARCH_ATTRIBUTES.risk),
          playbook: attributeOf(one, SEARCH_ATTRIBUTES.playbook),
          startedAt: one.startTime.toISOString(),
          closedAt: one.closeTime?.toISOString(),
        });
      }
      return found;
    });
  }

  /**
   * What a listed package waits for, or what became of it after its end: asks the packages of which the list cannot say
   * it, so it takes longer. Where no worker answers in time, what only a worker knows is left out.
   */
  async listNow(packages: readonly ListedPackage[]): Promise<ListedNow[]> {
    let isAnswered = true;
    return inBatches(packages, ASKED_AT_ONCE, async ({ wpkId, phase, closedAt }) => {
      if (phase === 'failed' || phase === 'stopped') {
        const rollback = await this.call(wpkId, () => this.rollbackOf(wpkId));
        return rollback ? { rollback } : {};
      }
      if (closedAt !== undefined) return {};
      const handle = this.handle(wpkId);
      if (phase === 'executing') return this.call(wpkId, async () => this.workOf(await handle.describe()));
      if (phase !== 'awaiting-approval' || !isAnswered) return {};
      try {
        const status = await this.call(wpkId, () => this.statusOf(handle, LISTED_WITHIN_MS));
        if (isSealed(status)) return {};
        const { missing, window } = status;
        return { ...(missing !== undefined && { missing }), ...(window && { window }) };
      } catch (error) {
        if (!(error instanceof ConnectorError && error.code === 'WORKER_UNAVAILABLE')) throw error;
        isAnswered = false;
        return {};
      }
    });
  }

  /** Yields the package as it is, then whenever something about it changes, until it has ended or `signal` aborts. */
  async *watch(wpkId: string, { signal }: { signal?: AbortSignal } = {}): AsyncGenerator<PackageView, void, void> {
    let last = '';
    while (!signal?.aborted) {
      const view = await this.get(wpkId);
      const now = JSON.stringify(view);
      if (now !== last) yield view;
      last = now;
      if (isEnd(view.phase)) return;
      await new Promise((resolve) => setTimeout(resolve, WATCH_INTERVAL_MS));
    }
  }

  /**
   * Votes and gets the answer.
   * @throws {ConnectorError} APPROVAL_… where the vote has no effect.
   */
  async approve(wpkId: string, vote: Approve): Promise<PackageStatus> {
    return this.decide(wpkId, { decision: 'approve', ...vote });
  }

  /** @throws {ConnectorError} APPROVAL_… where the vote has no effect. */
  async reject(wpkId: string, vote: Reject): Promise<PackageStatus> {
    return this.decide(wpkId, { decision: 'reject', ...vote });
  }

  /**
   * Emergency stop of one package, and of its rollback: it halts where it is. Resolves when the cluster has acknowledged,
   * with how it ended.
   * @param request for the audit log and whoever looks
   * @param options.onRecorded called once Temporal has taken the stop down, while a worker is to acknowledge it
   * @throws {ConnectorError} WORKER_UNAVAILABLE where nobody has acknowledged yet; the stop is recorded all the same
   */
  async stop(
    wpkId: string,
    request?: StopRequest,
    { onRecorded }: { readonly onRecorded?: () => void } = {},
  ): Promise<StoppedPackage> {
    const [rollback] = await this.call(wpkId, () =>
      Promise.all([this.cancelRollback(wpkId), this.cancel(this.handle(wpkId), request)]),
    );
    onRecorded?.();
    return this.inTime(STOPPED_WITHIN_MS, 'The stop is recorded, but no worker has acknowledged it yet', async () => {
      const [result, undone] = await Promise.all([this.result(wpkId), rollback?.result().catch(unlessFailed)]);
      return { ...result, ...(undone && { rollback: isSealed(undone) ? 'sealed' : undone }) };
    });
  }

  /** Cancels a package's run; who wants it and why goes ahead, as far as that is no obstacle. */
  private async cancel(handle: WorkflowHandle, request: StopRequest | undefined): Promise<void> {
    if (request) {
      const told = this.client.connection.withDeadline(Date.now() + TOLD_WITHIN_MS, () =>
        handle.signal('stopRequested', request),
      );
      await told.catch(() => undefined); // whatever came of it: the stop counts
    }
    await handle.cancel();
  }

  /** @returns the rollback that is under way, which is now asked to halt */
  private async cancelRollback(wpkId: string): Promise<WorkflowHandle<RollbackWorkflow> | undefined> {
    const { workflow } = this.client;
    const workflowId = rollbackIdOf(this.clusterId, wpkId);
    try {
      const { status, runId } = await workflow.getHandle(workflowId).describe();
      if (status.name !== 'RUNNING') return undefined;
      const handle = workflow.getHandle<RollbackWorkflow>(workflowId, runId);
      await handle.cancel();
      return handle;
    } catch (error) {
      return unlessEnded(error);
    }
  }

  /**
   * Asks every package of the cluster that is being executed or undone to halt where it is; those that wait for people stay.
   * Resolves when Temporal has taken that down, to their ids; that they halted, and others don't begin, is the freeze's.
   */
  async stopExecuting(request?: StopRequest): Promise<string[]> {
    return this.call('', async () => {
      const prefix = workflowIdOf(this.clusterId, '');
      const query = `WorkflowType = '${EXECUTE_WPK}' AND WorkflowId STARTS_WITH '${prefix}' AND ExecutionStatus = 'Running'`;
      const stopped: string[] = [];
      for await (const one of this.client.workflow.list({ query })) {
        const wpkId = one.workflowId.slice(prefix.length);
        const phase = attributeOf(one, SEARCH_ATTRIBUTES.phase) ?? (await this.get(wpkId)).phase;
        if (phase !== 'executing') continue;
        await this.cancel(this.client.workflow.getHandle(one.workflowId, one.runId), request).catch(unlessEnded);
        stopped.push(wpkId);
      }
      const rollbacks = rollbackIdOf(this.clusterId, '');
      const ofRollbacks = `WorkflowType = '${ROLLBACK_WPK}' AND WorkflowId STARTS_WITH '${rollbacks}' AND ExecutionStatus = 'Running'`;
      for await (const { workflowId, runId } of this.client.workflow.list({ query: ofRollbacks })) {
        await this.client.workflow.getHandle(workflowId, runId).cancel().catch(unlessEnded);
        stopped.push(workflowId.slice(rollbacks.length));
      }
      return stopped;
    });
  }

  /**
   * Undoes what a package has written that failed, was stopped or cut off; resolves when that has ended. A rollback that
   * is under way is joined.
   * @param request signed by `signRollback`, where the policy counts signed votes only
   * @param options.signed the package, from those who sent it: needed where what Temporal holds is encrypted for others
   * @throws {ConnectorError} ROLLBACK_REFUSED, APPROVAL_…, POLICY_DENIED, what a signature can be refused for;
   *   PAYLOAD_SEALED where it has ended, and how is encrypted for others
   */
  async rollback(
    wpkId: string,
    request: RollbackRequest,
    { onWork, signed }: { readonly onWork?: (work: Work) => void; readonly signed?: SignedWpk } = {},
  ): Promise<RollbackOutcome> {
    return this.call(wpkId, async () => {
      const handle = await this.client.workflow.start<RollbackWorkflow>(ROLLBACK_WPK, {
        args: [{ signed: signed ?? (await this.signedOf(wpkId)), ...request }],
        workflowId: rollbackIdOf(this.clusterId, wpkId),
        taskQueue: taskQueueOf(this.clusterId, 'execution'),
        workflowIdReusePolicy: 'ALLOW_DUPLICATE',
        workflowIdConflictPolicy: 'USE_EXISTING',
        staticSummary: `rollback of ${wpkId}`,
      });
      const startedAt = performance.now();
      for (let isBegun = false; ;) {
        const description = await handle.describe();
        if (description.status.name !== 'RUNNING') return readable(await handle.result());
        isBegun ||= (description.raw.pendingActivities ?? []).length > 0;
        if (!isBegun && performance.now() - startedAt > ANSWERED_WITHIN_MS) {
          throw new ConnectorError('WORKER_UNAVAILABLE', 'The rollback is asked for, and begins when there is one.');
        }
        onWork?.(await this.workOf(description));
        await new Promise((resolve) => setTimeout(resolve, WATCH_INTERVAL_MS));
      }
    });
  }

  /** The newest rollback that somebody asked for, unless it was refused. */
  private async rollbackOf(wpkId: string): Promise<RollbackView | undefined> {
    const handle = this.client.workflow.getHandle<RollbackWorkflow>(rollbackIdOf(this.clusterId, wpkId));
    try {
      const description = await handle.describe();
      if (description.status.name === 'RUNNING') return { state: 'under way', ...(await this.workOf(description)) };
      if (description.status.name !== 'COMPLETED') return undefined;
      const at = description.closeTime?.toISOString();
      const outcome = await handle.result();
      return isSealed(outcome) ? undefined : { state: 'over', ...(at !== undefined && { at }), ...outcome };
    } catch (error) {
      return unlessEnded(error);
    }
  }

  /** The package as it was submitted, from the first event of its run. */
  private async signedOf(wpkId: string): Promise<SignedWpk> {
    const { events } = await this.handle(wpkId).fetchHistory();
    const started = events?.[0]?.workflowExecutionStartedEventAttributes;
    const { loadedDataConverter } = this.client.options;
    const [signed] = await decodeArrayFromPayloads(loadedDataConverter, started?.input?.payloads);
    return readable(signed) as SignedWpk; // as submit() has sent it; the cluster checks it
  }

  /** Waits for the end, whatever it is. */
  async result(wpkId: string): Promise<PackageResult> {
    const handle = this.handle(wpkId);
    try {
      const result = (await handle.result()) as PackageResult;
      return isSealed(result) ? await this.sealedResult(handle, wpkId) : result;
    } catch (error) {
      if (!(error instanceof WorkflowFailedError)) throw toConnectorError(error, wpkId);
      const { cause } = error;
      if (cause instanceof CancelledFailure) {
        // Temporal keeps no details of a cancelled run; its status tells what it did until then.
        const { approvers, planDigest, report } = await this.get(wpkId);
        return { phase: 'stopped', wpkId, approvers, ...(planDigest && { planDigest }), ...(report && { report }) };
      }
      const result =
        cause instanceof ApplicationFailure ? (cause.details?.[0] as PackageResult | undefined) : undefined;
      if (isSealed(result) && cause instanceof ApplicationFailure && isErrorCode(cause.type)) {
        const error = { code: cause.type, message: ERRORS[cause.type].sentence };
        return { ...(await this.sealedResult(handle, wpkId)), error };
      }
      if (result) return result; // as the workflow's conclude() leaves it
      // Terminated or timed out by somebody in Temporal: no result was left.
      return { phase: 'failed', wpkId, approvers: [], error: { code: 'INTERNAL', message: error.message } };
    }
  }

  private async sealedResult(handle: WorkflowHandle, wpkId: string): Promise<PackageResult> {
    const { phase } = await this.call(wpkId, async () => sealedStatusOf(await handle.describe()));
    if (!isEnd(phase)) throw new ConnectorError('PAYLOAD_SEALED');
    return { phase, wpkId, approvers: [] };
  }

  private workOf(description: WorkflowExecutionDescription): Promise<Work> {
    return workOf(description, this.client.options.loadedDataConverter);
  }

  /** Has a worker of the cluster record that somebody reads its audit log; resolves once that is in the log. */
  async recordAuditRead(read: AuditRead): Promise<void> {
    await this.recordRead(AUDIT_READ, `audit-read/${this.clusterId}/${ulid()}`, read);
  }

  /**
   * The same for somebody who looks at what is encrypted in Temporal. One of the connector's own runs, in which nothing is
   * encrypted: so a worker takes it that has no key, and what was encrypted before stays readable.
   * @returns what was answered, by a worker or by somebody else in Temporal: for a reading with a nonce, a `PayloadReadReceipt`
   */
  async recordPayloadRead(read: PayloadRead): Promise<unknown> {
    return this.recordRead(PAYLOAD_READ, scheduleIdOf(this.clusterId, `payload-read/${ulid()}`), read);
  }

  private async recordRead(workflowType: string, workflowId: string, read: AuditRead | PayloadRead): Promise<unknown> {
    const start = () =>
      this.client.workflow.execute(workflowType, {
        args: [read],
        workflowId,
        taskQueue: taskQueueOf(this.clusterId, 'execution'),
        workflowExecutionTimeout: ANSWERED_WITHIN_MS,
      });
    return this.call('', () => this.answered(start));
  }

  /** Waits for what was asked, and not awaited, to come to its end. */
  async close(): Promise<void> {
    await Promise.allSettled(this.underWay);
    await this.client.connection.close();
  }

  private async decide(wpkId: string, argument: object): Promise<PackageStatus> {
    try {
      const status = await this.call(wpkId, () =>
        this.answered(() => this.handle(wpkId).executeUpdate<PackageStatus, [object]>('decide', { args: [argument] })),
      );
      return isSealed(status) ? await this.get(wpkId) : status;
    } catch (error) {
      if (!(error instanceof ConnectorError && error.code === 'WPK_NOT_FOUND')) throw error;
      // Temporal takes no updates for a run that has ended and says that there is none; only where that is true, it stands.
      const { phase } = await this.get(wpkId);
      throw new ConnectorError('APPROVAL_CLOSED', `It ended as ${phase}.`, { cause: error });
    }
  }

  private handle(wpkId: string) {
    return this.client.workflow.getHandle(workflowIdOf(this.clusterId, wpkId));
  }

  /** Queries and updates wait for a worker; without a bound they would wait for ever when there is none. */
  private answered<T>(ask: () => Promise<T>, withinMs = ANSWERED_WITHIN_MS): Promise<T> {
    return this.inTime(withinMs, 'No answer', ask);
  }

  /**
   * Bounds what waits for a worker, by a deadline that the calls themselves know: what is merely given up goes on to be
   * retried by Temporal's client, also when the connection is closed, and that ends the process.
   */
  private async inTime<T>(withinMs: number, what: string, work: () => Promise<T>): Promise<T> {
    const asked = this.client.connection.withDeadline(Date.now() + withinMs, work);
    this.underWay.add(asked);
    try {
      return await asked;
    } catch (error) {
      if (!isDeadlineExceeded(error)) throw error;
      throw new ConnectorError('WORKER_UNAVAILABLE', `${what} (waited ${withinMs / 1000} s).`, { cause: error });
    } finally {
      this.underWay.delete(asked);
    }
  }

  private async call<T>(wpkId: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw toConnectorError(error, wpkId);
    }
  }
}

/** What ended by itself meanwhile, or never was, needs no stop. */
function unlessEnded(error: unknown): undefined {
  if (!(error instanceof WorkflowNotFoundError)) throw error;
}

/** A rollback that fails while it is stopped has halted too. */
function unlessFailed(error: unknown): undefined {
  if (!(error instanceof WorkflowFailedError)) throw error;
}

/** @throws {ConnectorError} PAYLOAD_SEALED */
function readable<T>(value: T): T {
  if (isSealed(value)) throw new ConnectorError('PAYLOAD_SEALED');
  return value;
}
