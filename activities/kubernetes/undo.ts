import { ConnectorError } from '../../domain/errors.ts';
import type { UndoneObject, UndoOutcome } from '../../domain/status.ts';
import { deleteCall, STRICT } from './actions/calls.ts';
import { ApiStatusError } from './api-status-error.ts';
import { forEachLimited } from './concurrency.ts';
import { healthOf } from './health.ts';
import { toJsonBody } from './json-body.ts';
import type { KubeReader, WriteCall } from './kube-api.ts';
import { at, type KubeObject, listAt, versionOf } from './kube-object.ts';
import { inOrder } from './order.ts';
import type { UndoEntry } from './undo-entry.ts';
import { decideUndo, isAsBefore, lossOf, type UndoDecision } from './undo-rules.ts';
import { waitFor } from './wait.ts';

const IN_FLIGHT = 16;
/** How often one object is looked at anew because it changed in between. */
const MAX_TRIES = 12;
/** How long a restored object may take to be ready, and a removed one to be gone. */
const SETTLES_WITHIN_MS = 120_000;

/** What a package has written in one step. */
export interface StepToUndo {
  readonly step: string;
  readonly entries: readonly UndoEntry[];
}

export interface UndoOptions {
  /** In the order in which they were carried out. */
  readonly steps: readonly StepToUndo[];
  readonly signal?: AbortSignal | undefined;
  /** Called before every single write; throws where nothing may be written any more. */
  readonly beforeWrite?: () => void | Promise<void>;
  readonly onProgress?: (progress: {
    readonly step: string;
    readonly done: number;
    readonly total: number;
    readonly waitingFor?: string;
  }) => void;
  /** Filled object by object; what is in it when this throws was undone. */
  readonly report: UndoneObject[];
}

/** Undoes what a package has written: steps and kinds in reverse order, each write bound to the state that it changes. */
export class Undo {
  private readonly api: KubeReader;
  private readonly sendWrite: (call: WriteCall) => Promise<KubeObject>;
  private readonly options: UndoOptions;

  constructor(api: KubeReader, sendWrite: (call: WriteCall) => Promise<KubeObject>, options: UndoOptions) {
    this.api = api;
    this.sendWrite = sendWrite;
    this.options = options;
  }

  async run(): Promise<void> {
    for (const { step, entries } of [...this.options.steps].reverse()) await this.undoStep(step, entries);
  }

  private async undoStep(step: string, entries: readonly UndoEntry[]): Promise<void> {
    const { report, onProgress } = this.options;
    let done = 0;
    const tell = (waitingFor?: string) =>
      onProgress?.({ step, done, total: entries.length, ...(waitingFor !== undefined && { waitingFor }) });
    tell();
    for (const group of inOrder(entries, ({ object }) => object.kind).reverse()) {
      await forEachLimited([...group].reverse(), IN_FLIGHT, async (entry) => {
        const { object } = entry;
        report.push({ step, object, ...(await this.undoOne(entry, tell)) });
        done += 1;
        tell();
      });
    }
  }

  private async undoOne(entry: UndoEntry, tell: (waitingFor: string) => void): Promise<Outcome> {
    for (let attempt = 1; ; attempt++) {
      const live = await this.api.get(entry.path, this.options.signal);
      const decision = decideUndo(entry, live);
      try {
        const outcome = await this.carryOut(entry, decision, tell);
        if (outcome) return outcome;
      } catch (error) {
        if (!(error instanceof ApiStatusError)) throw error;
        const isOutdated = error.isStale || error.isNotFound;
        if (!isOutdated || attempt === MAX_TRIES) return { outcome: 'left', why: error.message };
      }
    }
  }

  /** @returns undefined where the object has to be looked at anew */
  private async carryOut(
    entry: UndoEntry,
    decision: UndoDecision,
    tell: (waitingFor: string) => void,
  ): Promise<Outcome | undefined> {
    const loss = lossOf(entry);
    switch (decision.do) {
      case 'nothing':
        return loss === undefined ? { outcome: 'unchanged' } : { outcome: 'partly', why: loss };
      case 'leave':
        return { outcome: 'left', why: decision.why };
      case 'await-end': {
        const why = await this.settle(entry, decision.live, 'gone', tell);
        return why === undefined ? undefined : { outcome: 'left', why };
      }
      case 'remove': {
        const why = await this.heldBack(entry);
        if (why !== undefined) return { outcome: 'left', why };
        await this.send(deleteCall(entry.path, 'background', versionOf(decision.live)));
        return ended(loss, await this.settle(entry, decision.live, 'gone', tell));
      }
      case 'restore':
      case 'recreate': {
        const made = await this.send(putBack(entry, decision));
        const now = await this.withOwners(entry, made);
        return ended(loss, await this.settle(entry, now, 'ready', tell));
      }
    }
  }

  /** Gives the fields back to those who owned them, where the object is in all that counts what it was. */
  private async withOwners(entry: UndoEntry, made: KubeObject): Promise<KubeObject> {
    const owners = listAt(entry.before, 'metadata', 'managedFields').filter(ofNoSubresource);
    let now = made;
    for (let attempt = 1; owners.length > 0 && isAsBefore(entry, now); attempt++) {
      const others = listAt(now, 'metadata', 'managedFields').filter((one) => !ofNoSubresource(one));
      const metadata = { ...now.metadata, managedFields: [...owners, ...others] };
      try {
        return await this.send(putCall(entry.path, { ...now, metadata }));
      } catch (error) {
        // Nothing of the object itself is lost where it can't be had.
        if (!(error instanceof ApiStatusError)) throw error;
        if (!error.isStale || attempt === MAX_TRIES) return now;
      }
      const live = await this.api.get(entry.path, this.options.signal);
      if (!live || live.metadata.uid !== now.metadata.uid) return now;
      now = live;
    }
    return now;
  }

  /** Why an object that the package made is not removed with what others have put into it. */
  private async heldBack({ object, after }: UndoEntry): Promise<string | undefined> {
    if (object.kind !== 'Namespace' && object.kind !== 'CustomResourceDefinition') return undefined;
    for (const path of contentsOf(object.name, object.kind, after)) {
      const held = await this.api.list(path, { atMost: MAX_HELD }, this.options.signal);
      const foreign = held?.filter(({ metadata }) => metadata.name !== ROOT_CERTIFICATE);
      if (foreign && foreign.length === 0) continue;
      const [first] = foreign ?? [];
      const what = first ? `${first.kind} ${first.metadata.name}` : 'many objects';
      return `it holds what is not from this package, such as ${what}`;
    }
    return undefined;
  }

  /** @returns why it does not come to rest, if it doesn't */
  private async settle(
    { object, path, before }: UndoEntry,
    seen: KubeObject,
    state: 'ready' | 'gone',
    tell: (waitingFor: string) => void,
  ): Promise<string | undefined> {
    // What was not ready before need not become it.
    if (state === 'ready' && before && healthOf(before).state !== 'ready') return undefined;
    const { signal } = this.options;
    const waiting = { for: state, timeoutMs: SETTLES_WITHIN_MS, signal, onProgress: tell } as const;
    try {
      await waitFor(this.api, [{ object, path, seen }], waiting);
      return undefined;
    } catch (error) {
      if (!(error instanceof ConnectorError) || (error.code !== 'NOT_READY' && error.code !== 'OBJECT_MISSING'))
        throw error;
      return error.detail;
    }
  }

  private async send(call: WriteCall): Promise<KubeObject> {
    const { signal, beforeWrite } = this.options;
    signal?.throwIfAborted();
    await beforeWrite?.();
    signal?.throwIfAborted();
    return this.sendWrite(call);
  }
}

function ofNoSubresource(owner: unknown): boolean {
  return at(owner, 'subresource') === undefined;
}

interface Outcome {
  readonly outcome: UndoOutcome;
  readonly why?: string;
}

function ended(loss: string | undefined, unsettled: string | undefined): Outcome {
  const why = [loss, unsettled].filter((one) => one !== undefined).join('; ');
  return why === '' ? { outcome: 'undone' } : { outcome: 'partly', why };
}

function putBack({ path }: UndoEntry, decision: Extract<UndoDecision, { do: 'restore' | 'recreate' }>): WriteCall {
  if (decision.do === 'restore') return putCall(path, decision.object);
  const collection = path.slice(0, path.lastIndexOf('/'));
  return { ...putCall(collection, decision.object), method: 'POST' };
}

function putCall(path: string, object: KubeObject): WriteCall {
  return { method: 'PUT', path, query: STRICT, contentType: 'application/json', body: toJsonBody(object) };
}

/** Kubernetes puts it into every namespace, as it does the service account `default`. */
const ROOT_CERTIFICATE = 'kube-root-ca.crt';
const MAX_HELD = 50;

/** Where what others have put into an object would be found; the kinds that people make in a namespace. */
function contentsOf(name: string, kind: string, after: KubeObject | undefined): string[] {
  if (kind === 'Namespace') {
    return NAMESPACE_CONTENTS.map(([group, plural]) => `${group}/namespaces/${encodeURIComponent(name)}/${plural}`);
  }
  return definedBy(after);
}

const NAMESPACE_CONTENTS: readonly (readonly [string, string])[] = [
  ['/apis/apps/v1', 'deployments'],
  ['/apis/apps/v1', 'statefulsets'],
  ['/apis/apps/v1', 'daemonsets'],
  ['/apis/batch/v1', 'jobs'],
  ['/apis/batch/v1', 'cronjobs'],
  ['/api/v1', 'pods'],
  ['/api/v1', 'services'],
  ['/api/v1', 'configmaps'],
  ['/api/v1', 'secrets'],
  ['/api/v1', 'persistentvolumeclaims'],
];

/** The collections of the kind that a definition brings, one for each version. */
function definedBy(definition: KubeObject | undefined): string[] {
  const group = String(at(definition, 'spec', 'group') ?? '');
  const plural = String(at(definition, 'spec', 'names', 'plural') ?? '');
  return listAt(definition, 'spec', 'versions')
    .filter((version) => at(version, 'served') === true)
    .map((version) => `/apis/${group}/${String(at(version, 'name'))}/${plural}`);
}
