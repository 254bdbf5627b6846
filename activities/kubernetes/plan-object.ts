import { FIELD_MANAGER } from '../../domain/names.ts';
import type { PlannedObject, PlanProblem, Verified } from '../../domain/plan.ts';
import type { Wpk } from '../../domain/wpk.ts';
import { Obstacle } from './actions/action.ts';
import { actionOf, predict } from './actions/index.ts';
import { ApiStatusError, describeConflicts } from './api-status-error.ts';
import type { Fingerprints } from './fingerprint.ts';
import { type Intent, isForced } from './intents.ts';
import type { KubeReader, WriteCall } from './kube-api.ts';
import type { KubeObject } from './kube-object.ts';
import { isDone, stampOf } from './stamp.ts';

/** How often a dry run is made anew because the object changed since it was read. */
const MAX_TRIES = 5;

/** One change of a plan, with what carrying it out needs; never leaves the worker, for Secrets are in clear here. */
export interface PlannedWrite {
  readonly planned: PlannedObject;
  readonly intent: Intent;
  /** The live object, or what an earlier step leaves; absent where nothing is there. */
  readonly before?: KubeObject;
  /** What it becomes; absent where it is deleted. */
  readonly after?: KubeObject;
  /** Absent where nothing has to be written. */
  readonly write?: PendingWrite;
}

export interface PendingWrite {
  /** Bound to the state that was planned from; absent where an earlier step makes that state first. */
  readonly call?: WriteCall;
}

export type Planned = { readonly write: PlannedWrite } | { readonly problem: PlanProblem };

export interface PlanContext {
  readonly api: KubeReader;
  readonly fingerprints: Fingerprints;
  readonly wpk: Wpk;
  readonly signal?: AbortSignal | undefined;
}

/** What the API server can't check yet for a reason that lies in the package itself. */
export type MissingParent = string | undefined;

const BY_SERVER: Verified = { by: 'server' };

/**
 * Plans what the steps of a package do to one object, in their order: the first that changes it against the API
 * server, those after it on top of what the first leaves. Ends at the first problem.
 */
export async function planObject(
  context: PlanContext,
  intents: readonly Intent[],
  live: KubeObject | undefined,
  missingParent: MissingParent,
): Promise<Planned[]> {
  const results: Planned[] = [];
  let current = live;
  let uid = live?.metadata.uid;
  let changedBy: string | undefined;
  for (const intent of intents) {
    const result =
      changedBy === undefined
        ? await planOnLive(context, intent, current, missingParent)
        : planOnEarlier(context, intent, current, changedBy, uid);
    results.push(result);
    if ('problem' in result) break;
    const { write } = result;
    if (write.planned.change !== 'unchanged') changedBy = intent.step.id;
    current = write.after;
    uid = write.after && write.planned.uid;
  }
  return results;
}

/** Plans one step on the object as it is in the cluster. */
export async function planOnLive(
  context: PlanContext,
  intent: Intent,
  found: KubeObject | undefined,
  missingParent?: MissingParent,
): Promise<Planned> {
  const { api, wpk, signal } = context;
  const { effect, stampAt } = actionOf(intent.step);
  if (effect === 'watch') return unchanged(context, intent, found);
  let live = found;
  for (let attempt = 1; ; attempt++) {
    if (live && isDone(wpk, intent, live, stampAt)) return unchanged(context, intent, live);
    const leaving = live?.metadata.deletionTimestamp !== undefined;
    if (effect === 'remove' && (!live || leaving)) return unchanged(context, intent, live);
    if (!live && effect !== 'bring') return problem(intent, 'is not there');
    if (leaving) return problem(intent, 'is being deleted');
    if (!live && missingParent) return await uncheckedCreation(context, intent, missingParent);
    try {
      return await dryRun(context, intent, live);
    } catch (error) {
      if (error instanceof Obstacle) return problem(intent, error.message);
      if (!(error instanceof ApiStatusError)) throw error;
      if (!error.isStale || attempt === MAX_TRIES) return problem(intent, refusalOf(error));
      live = await api.get(intent.path, signal);
    }
  }
}

async function dryRun(context: PlanContext, intent: Intent, live: KubeObject | undefined): Promise<Planned> {
  const { api, signal } = context;
  let call = await requestFor(context, intent, live);
  let answer: KubeObject;
  try {
    answer = await api.dryRun(call, signal);
  } catch (error) {
    if (!(error instanceof ApiStatusError) || !isOwnConflict(error)) throw error;
    // Nobody but ourselves is in the way, and the write is bound to exactly this state.
    call = await requestFor(context, intent, live, true);
    answer = await api.dryRun(call, signal);
  }
  const after = actionOf(intent.step).effect === 'remove' ? undefined : answer;
  const uid = live?.metadata.uid;
  return outcome(context, { uid, before: live, after, verified: BY_SERVER, intent, write: { call } });
}

/** The request that carries out a step on an object, bound to the state that the object is in. */
export async function requestFor(
  { api, wpk, signal }: Pick<PlanContext, 'api' | 'wpk' | 'signal'>,
  intent: Intent,
  live: KubeObject | undefined,
  force = isForced(intent.step),
): Promise<WriteCall> {
  const { step } = intent;
  return actionOf(step).request({ step, intent, live, stamp: stampOf(wpk, intent), force, api, signal });
}

/**
 * Whether nobody but the connector itself is in the way. What `scale` and `patch` set belongs to it as an `Update`, and
 * its `Apply` conflicts with that: two managers to the API server, one to everybody else.
 */
export function isOwnConflict(error: ApiStatusError): boolean {
  return error.isFieldConflict && error.fieldConflicts.every(({ manager }) => manager === FIELD_MANAGER);
}

async function uncheckedCreation(context: PlanContext, intent: Intent, reason: string): Promise<Planned> {
  const { manifest } = intent;
  const call = await requestFor(context, intent, undefined);
  const after = manifest as KubeObject | undefined; // whatever brings an object has one
  const verified: Verified = { by: 'nobody', reason };
  return outcome(context, { uid: undefined, before: undefined, after, verified, intent, write: { call } });
}

/**
 * Plans one step on top of what an earlier one leaves.
 * @param uid of the live object; undefined where the package creates it (the answer of a dry run has one made up)
 */
export function planOnEarlier(
  context: PlanContext,
  intent: Intent,
  current: KubeObject | undefined,
  changedBy: string,
  uid: string | undefined,
): Planned {
  const { step } = intent;
  const { effect } = actionOf(step);
  if (effect === 'watch' || (effect === 'remove' && !current)) return unchanged(context, intent, current);
  try {
    const stamp = stampOf(context.wpk, intent);
    const { after, verified } = predict({ step, intent, current, changedBy, stamp });
    return outcome(context, { uid, before: current, after, verified, intent, write: {} });
  } catch (error) {
    return problem(intent, error instanceof Error ? error.message : String(error));
  }
}

interface Outcome {
  readonly intent: Intent;
  readonly uid: string | undefined;
  readonly before: KubeObject | undefined;
  readonly after: KubeObject | undefined;
  readonly verified: Verified;
  readonly write: PendingWrite;
}

function outcome({ fingerprints }: PlanContext, { intent, uid, before, after, verified, write }: Outcome): Planned {
  const planned = fingerprints.planned(intent, { uid, before, after }, verified);
  return {
    write: {
      planned,
      intent,
      ...(before ? { before } : {}),
      ...(after ? { after } : {}),
      ...(planned.change === 'unchanged' ? {} : { write }),
    },
  };
}

function unchanged(context: PlanContext, intent: Intent, live: KubeObject | undefined): Planned {
  // What is only watched may be replaced by another object meanwhile: nothing is done to it.
  const uid = actionOf(intent.step).effect === 'watch' ? undefined : live?.metadata.uid;
  return outcome(context, { uid, before: live, after: live, verified: BY_SERVER, intent, write: {} });
}

function problem({ step, object }: Intent, message: string): Planned {
  return { problem: { step: step.id, object, message } };
}

function refusalOf(error: ApiStatusError): string {
  return error.isFieldConflict ? describeConflicts(error.fieldConflicts) : error.message;
}
