import { setTimeout as sleep } from 'node:timers/promises';
import { ConnectorError } from '../../domain/errors.ts';
import { describeObject, type ObjectRef } from '../../domain/plan.ts';
import type { AwaitedState } from '../../domain/wpk.ts';
import { stateOf } from './awaited-state.ts';
import { forEachLimited } from './concurrency.ts';
import { explain } from './explain.ts';
import { type Health, healthOf, progressing, READY } from './health.ts';
import type { KubeReader } from './kube-api.ts';
import { at, type KubeObject, listAt } from './kube-object.ts';

const FIRST_POLL_MS = 150;
const MAX_POLL_MS = 2_000;
const POLL_FACTOR = 1.5;
const IN_FLIGHT = 16;

export interface WaitTarget {
  readonly object: ObjectRef;
  readonly path: string;
  /** The object as it was last seen: what is ready in it needs no request. */
  readonly seen?: KubeObject;
}

export interface WaitOptions {
  readonly for: AwaitedState;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  /** Told whenever what is waited for changes: `Deployment shop/web: 1 of 3 pods are available`. */
  readonly onProgress?: ((waitingFor: string) => void) | undefined;
  /** Whether an object that is not there may still come. */
  readonly mayCome?: boolean;
}

/**
 * Waits until all targets are ready by the rules of their kinds, gone (an object of the same name with another uid
 * counts as gone), or in the state that is asked for.
 * @throws {ConnectorError} NOT_READY on time-out, or at once for what failed for good, with the cause; OBJECT_MISSING
 */
export async function waitFor(api: KubeReader, targets: readonly WaitTarget[], options: WaitOptions): Promise<void> {
  const deadline = performance.now() + options.timeoutMs;
  await forEachLimited(targets, IN_FLIGHT, (target) => waitForOne(api, target, options, deadline));
}

async function waitForOne(api: KubeReader, target: WaitTarget, options: WaitOptions, deadline: number): Promise<void> {
  const { signal } = options;
  const name = describeObject(target.object);
  if (options.for === 'ready' && target.seen && healthOf(target.seen).state === 'ready') return;
  let told = '';
  for (let pollMs = FIRST_POLL_MS; ; pollMs = Math.min(pollMs * POLL_FACTOR, MAX_POLL_MS)) {
    const live = await api.get(target.path, signal);
    const health = judge(live, target, options);
    if (health.state === 'ready') return;
    const leftMs = deadline - performance.now();
    if (health.state === 'failed' || leftMs <= 0) {
      const cause = live ? await explain(api, live, signal) : '';
      const ending = health.state === 'failed' ? '' : ' when the time was up';
      throw new ConnectorError(
        'NOT_READY',
        `${name}: ${[`${health.message}${ending}`, cause].filter(Boolean).join('. ')}`,
      );
    }
    if (health.message !== told) options.onProgress?.(`${name}: ${health.message}`);
    told = health.message;
    await sleep(Math.min(pollMs, leftMs), undefined, signal ? { signal } : {}).catch(() => signal?.throwIfAborted());
  }
}

function judge(live: KubeObject | undefined, target: WaitTarget, { for: wanted, mayCome }: WaitOptions): Health {
  if (wanted === 'gone') return goneness(live, target);
  if (live) return wanted === 'ready' ? healthOf(live) : stateOf(live, wanted);
  if (mayCome) return progressing('is not there');
  // A finished Job may be cleaned away before anybody looks.
  if (target.seen?.kind === 'Job' && at(target.seen, 'spec', 'ttlSecondsAfterFinished') !== undefined) return READY;
  throw new ConnectorError('OBJECT_MISSING', `${describeObject(target.object)} was to become ready and is gone.`);
}

function goneness(live: KubeObject | undefined, { seen }: WaitTarget): Health {
  if (!live || (seen && live.metadata.uid !== seen.metadata.uid)) return READY;
  const finalizers = live.metadata['finalizers'];
  const held = Array.isArray(finalizers) && finalizers.length > 0 ? `, held by ${finalizers.join(', ')}` : '';
  return progressing(`is still there${held}${whatHolds(live)}`);
}

/** A namespace tells what in it keeps it from going. */
function whatHolds(live: KubeObject): string {
  if (live.kind !== 'Namespace') return '';
  const told = listAt(live, 'status', 'conditions')
    .filter((one) => at(one, 'status') === 'True' && /Remaining$|Failure$/.test(String(at(one, 'type'))))
    .map((one) => String(at(one, 'message')));
  return told.length > 0 ? `: ${told.join('; ')}` : '';
}
