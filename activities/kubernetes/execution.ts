import { setTimeout as sleep } from 'node:timers/promises';
import { ConnectorError } from '../../domain/errors.ts';
import { describeObject } from '../../domain/plan.ts';
import type { LogTail, ObjectOutcome, StepReport } from '../../domain/status.ts';
import type { Step } from '../../domain/wpk.ts';
import { Obstacle } from './actions/action.ts';
import { actionOf } from './actions/index.ts';
import { ApiStatusError, describeConflicts } from './api-status-error.ts';
import { forEachLimited } from './concurrency.ts';
import type { ExecutionOptions } from './execution-types.ts';
import type { Intent } from './intents.ts';
import type { KubeReader, WriteCall } from './kube-api.ts';
import type { KubeObject } from './kube-object.ts';
import { inOrder } from './order.ts';
import { isOwnConflict, type PendingWrite, type PlannedWrite, requestFor } from './plan-object.ts';
import type { Planner } from './planner.ts';
import { stampOf } from './stamp.ts';
import type { UndoEntry } from './undo-entry.ts';
import { waitFor, type WaitTarget } from './wait.ts';

/** Writes under way at a time; more gained nothing on a local API server. */
const IN_FLIGHT = 16;
/** How often one write is bound anew to an object that keeps changing: in a rollout the status does all the time. */
const MAX_TRIES = 12;
const MAX_PAUSE_MS = 250;
/** How long the API server may take to serve a kind after its definition. */
const DEFINITION_TIMEOUT_MS = 30_000;
const NOT_SERVED_POLL_MS = 200;

/** One run through the steps of one package. */
export class Execution {
  private readonly api: KubeReader;
  private readonly sendWrite: (call: WriteCall) => Promise<KubeObject>;
  private readonly planner: Planner;
  private readonly options: ExecutionOptions;
  /** What our own writes left, by path: what later steps on the same object start from. */
  private readonly written = new Map<string, KubeObject | undefined>();
  /** Paths of objects that were left in another state than the plan says to the letter. */
  private readonly unforeseen = new Set<string>();

  constructor(
    api: KubeReader,
    sendWrite: (call: WriteCall) => Promise<KubeObject>,
    planner: Planner,
    options: ExecutionOptions,
  ) {
    this.api = api;
    this.sendWrite = sendWrite;
    this.planner = planner;
    this.options = options;
  }

  async run(step: Step): Promise<void> {
    const writes = this.options.dryRun.writes.filter(({ planned }) => planned.step === step.id);
    const startedAt = new Date().toISOString();
    await this.options.onStep?.({ started: step });
    const toUndo = writes.filter(({ write }) => write).map((write) => this.entryOf(write));
    await this.options.journal?.begin(step, toUndo);
    const reports = new Map<PlannedWrite, ObjectOutcome>();
    const logs: LogTail[] = [];
    let complete = false;
    try {
      const progress = (waitingFor?: string) => this.tell(step, reports.size, writes.length, waitingFor);
      progress();
      for (const group of inOrder(writes, ({ planned }) => planned.object.kind)) {
        await forEachLimited(group, IN_FLIGHT, async (write) => {
          reports.set(write, write.write ? await this.carryOut(write, write.write) : this.unchanged(write));
          progress();
        });
        await this.waitForDefinitions(group, progress);
      }
      for (const write of writes) await this.finish(write, progress, (tails) => logs.push(...tails));
      await this.wait(step, writes, progress);
      complete = true;
    } finally {
      const objects = writes.flatMap((write) => reports.get(write) ?? []);
      const unchanged = objects.every(({ change }) => change === 'unchanged');
      const outcome = complete ? (unchanged ? 'unchanged' : 'done') : 'partial';
      const finishedAt = new Date().toISOString();
      const finished: StepReport = {
        id: step.id,
        action: step.action,
        outcome,
        objects,
        ...(logs.length > 0 && { logs }),
        startedAt,
        finishedAt,
      };
      this.options.report.steps.push(finished);
      await this.options.onStep?.({ finished });
      await this.options.journal?.end(step, finished, this.corrections(writes, reports, toUndo));
    }
  }

  /** What undoing a write needs, as far as it is known before it is sent. */
  private entryOf({ intent, planned, before, after }: PlannedWrite): UndoEntry {
    const { written } = this;
    const known = written.has(intent.path) ? written.get(intent.path) : before;
    return {
      action: intent.step.action,
      object: intent.object,
      path: intent.path,
      ...(known && { before: known }),
      ...(after && { after }),
      isExact: planned.verified.by === 'server',
    };
  }

  /** Entries of objects that are not as the plan foresaw. */
  private corrections(
    writes: readonly PlannedWrite[],
    reports: ReadonlyMap<PlannedWrite, ObjectOutcome>,
    toUndo: readonly UndoEntry[],
  ): UndoEntry[] {
    const entries = new Map(toUndo.map((entry) => [entry.path, entry]));
    return writes.flatMap((write) => {
      const entry = entries.get(write.intent.path);
      const after = this.written.get(write.intent.path);
      const isForeseen = !entry || !after || !reports.has(write) || !this.unforeseen.has(entry.path);
      return isForeseen ? [] : [{ ...entry, after, isExact: true }];
    });
  }

  private tell(step: Step, done: number, total: number, waitingFor: string | undefined): void {
    this.options.onProgress?.({ step: step.id, done, total, ...(waitingFor === undefined ? {} : { waitingFor }) });
  }

  /** Writes one object, bound to a state that what was approved still holds for. */
  private async carryOut(planned: PlannedWrite, write: PendingWrite): Promise<ObjectOutcome> {
    const { intent } = planned;
    const { effect } = actionOf(intent.step);
    let bound = write.call ? { call: write.call, before: planned.before } : await this.bind(planned);
    if (!write.call || planned.planned.verified.by !== 'server') this.unforeseen.add(intent.path);
    for (let attempt = 1; bound; attempt++) {
      await this.mayWrite();
      try {
        const answer = await this.send(bound.call, intent.kindCreated);
        const after = effect === 'remove' ? undefined : answer;
        this.written.set(intent.path, after);
        return this.reportOf(planned, bound.before, after);
      } catch (error) {
        if (!(error instanceof ApiStatusError)) throw error;
        const isGone = error.isNotFound && effect !== 'bring';
        if (isOwnConflict(error) && bound.call.query['force'] === 'false') {
          bound = { ...bound, call: { ...bound.call, query: { ...bound.call.query, force: 'true' } } };
        } else if ((error.isStale || isGone) && attempt < MAX_TRIES) {
          await sleep(Math.min((attempt - 1) * 20, MAX_PAUSE_MS)); // at once at first, then give way
          bound = await this.bind(planned);
          this.unforeseen.add(intent.path);
        } else {
          throw refusal(planned, error);
        }
      }
    }
    return this.unchanged(planned);
  }

  /**
   * Binds a write to the object as it is now.
   * @returns undefined where it turns out to be done
   * @throws {ConnectorError} PLAN_CHANGED where what would happen now is not what was approved
   */
  private async bind(planned: PlannedWrite) {
    const { wpk, approved, resumed, signal } = this.options;
    const { api, planner, written } = this;
    const { intent } = planned;
    const { effect, dependsOnMore } = actionOf(intent.step);
    const before = await api.get(intent.path, signal);
    if (!before && effect === 'remove') return undefined;
    if (!before && effect !== 'bring') {
      throw new ConnectorError('OBJECT_MISSING', `${describeObject(intent.object)} is gone.`);
    }
    const expected = written.has(intent.path) ? written.get(intent.path) : planned.before;
    // A JSON patch can copy from what never counts, such as the status: another value than was approved would land.
    if (!dependsOnMore && isSame(planner, before, expected)) {
      return { call: await this.request(intent, before), before };
    }
    const fresh = await planner.replan(wpk, intent, before, signal);
    if (!fresh.write && (resumed || effect === 'remove')) return undefined;
    const approvedStill = planner.digestsBefore(wpk, fresh).some((digest) => approved.has(digest));
    if (!fresh.write?.call || !approvedStill) throw planChanged([fresh]);
    return { call: fresh.write.call, before: fresh.before };
  }

  private async request(intent: Intent, before: KubeObject | undefined): Promise<WriteCall> {
    const { wpk, signal } = this.options;
    try {
      return await requestFor({ api: this.api, wpk, signal }, intent, before);
    } catch (error) {
      if (!(error instanceof Obstacle)) throw error;
      throw new ConnectorError('PLAN_CHANGED', `${describeObject(intent.object)}: ${error.message}.`);
    }
  }

  /** Does what is left once the object is written: a Job is awaited, pods are evicted. */
  private async finish(
    { intent, write, before }: PlannedWrite,
    onProgress: (waitingFor: string) => void,
    keep: (logs: readonly LogTail[]) => void,
  ): Promise<void> {
    const { wpk, signal } = this.options;
    const { step, path } = intent;
    const finished = await actionOf(step).finish?.({
      step,
      intent,
      api: this.api,
      seen: this.written.get(path) ?? before,
      isPending: write !== undefined,
      stamp: stampOf(wpk, intent),
      signal,
      send: async (call) => {
        await this.mayWrite();
        return this.sendWrite(call);
      },
      keep,
      onProgress,
    });
    if (!finished?.seen) return;
    this.written.set(path, finished.seen);
    this.unforeseen.add(path);
  }

  private async mayWrite(): Promise<void> {
    const { signal, beforeWrite } = this.options;
    signal?.throwIfAborted();
    await beforeWrite?.();
    signal?.throwIfAborted();
  }

  /** Sends one write; where the package itself brought the kind, waits until the API server serves it. */
  private async send(call: WriteCall, kindCreated: boolean): Promise<KubeObject> {
    const deadline = performance.now() + DEFINITION_TIMEOUT_MS;
    for (;;) {
      try {
        return await this.sendWrite(call);
      } catch (error) {
        const notServed = kindCreated && error instanceof ApiStatusError && error.isNotFound;
        if (!notServed || performance.now() > deadline) throw error;
        await sleep(NOT_SERVED_POLL_MS);
        await this.mayWrite();
      }
    }
  }

  private async waitForDefinitions(group: readonly PlannedWrite[], onProgress: (waitingFor: string) => void) {
    const definitions = group.filter(
      ({ planned, write }) => write && planned.object.kind === 'CustomResourceDefinition',
    );
    const { signal } = this.options;
    const targets = definitions.map((one) => this.targetOf(one));
    await waitFor(this.api, targets, { for: 'ready', timeoutMs: DEFINITION_TIMEOUT_MS, signal, onProgress });
  }

  private async wait(
    step: Step,
    writes: readonly PlannedWrite[],
    onProgress: (waitingFor: string) => void,
  ): Promise<void> {
    if (!step.wait) return;
    const { signal } = this.options;
    const timeoutMs = step.wait.timeoutSeconds * 1_000;
    await waitFor(
      this.api,
      writes.map((write) => this.targetOf(write)),
      { for: step.wait.for, timeoutMs, signal, onProgress },
    );
  }

  private targetOf({ planned, before, intent: { path } }: PlannedWrite): WaitTarget {
    const seen = this.written.get(path) ?? before;
    return { object: planned.object, path, ...(seen ? { seen } : {}) };
  }

  private unchanged(planned: PlannedWrite): ObjectOutcome {
    const now = this.written.get(planned.intent.path) ?? planned.before;
    return { ...this.reportOf(planned, now, now), change: 'unchanged' };
  }

  private reportOf(
    { planned }: PlannedWrite,
    before: KubeObject | undefined,
    after: KubeObject | undefined,
  ): ObjectOutcome {
    const { uid, resourceVersion } = (after ?? before)?.metadata ?? {};
    return {
      object: planned.object,
      change: planned.change,
      ...(uid === undefined ? {} : { uid }),
      ...(resourceVersion === undefined || !after ? {} : { resourceVersion }),
      ...(before ? { beforeHash: this.planner.stateHash(before) } : {}),
      ...(after ? { afterHash: this.planner.stateHash(after) } : {}),
    };
  }
}

/** The same object, and nothing in it changed that counts. */
function isSame(planner: Planner, a: KubeObject | undefined, b: KubeObject | undefined): boolean {
  if (!a || !b) return a === b;
  return a.metadata.uid === b.metadata.uid && planner.stateHash(a) === planner.stateHash(b);
}

function refusal({ planned, intent }: PlannedWrite, error: ApiStatusError): ConnectorError {
  const name = describeObject(planned.object);
  const options = { cause: error };
  if (error.isFieldConflict) {
    return new ConnectorError('FIELD_CONFLICT', `${name}: ${describeConflicts(error.fieldConflicts)}.`, options);
  }
  if (error.isMissingRight) return new ConnectorError('KUBERNETES_FORBIDDEN', error.message, options);
  if (error.isNotFound && actionOf(intent.step).effect !== 'bring')
    return new ConnectorError('OBJECT_MISSING', `${name} is gone.`, options);
  return new ConnectorError('WRITE_REFUSED', `${name}: ${error.message}`, options);
}

export function planChanged(writes: readonly PlannedWrite[]): ConnectorError {
  const named = writes.slice(0, 3).map(({ planned }) => `${describeObject(planned.object)} (${planned.change})`);
  const more = writes.length > named.length ? ` and ${writes.length - named.length} more` : '';
  return new ConnectorError('PLAN_CHANGED', `Not as approved: ${named.join(', ')}${more}.`);
}
