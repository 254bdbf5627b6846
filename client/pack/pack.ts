import { ulid } from 'ulid';
import { ConnectorError } from '../../domain/errors.ts';
import { parseWpk } from '../../domain/parse-wpk.ts';
import type { Manifest, RiskLevel, Step, Target, Wpk } from '../../domain/wpk.ts';
import { targetsOf, WPK_API_VERSION, WPK_MAX_BYTES } from '../../domain/wpk.ts';
import { withNamespace } from './namespaces.ts';

export interface PackInput {
  readonly manifests: readonly Manifest[];
  /** Workloads to restart after the manifests are applied. */
  readonly restarts?: readonly Target[];
  readonly name: string;
  readonly playbook: { readonly id: string; readonly version: string };
  /** Whoever answers for the package; may not approve it. */
  readonly author: string;
  readonly clusterId: string;
  /** For manifests and restarts that name none. */
  readonly namespace?: string;
  /** All that the package may touch; derived from what it does touch where it is left out. */
  readonly namespaces?: readonly string[];
  readonly notBefore: Date;
  readonly validForSeconds: number;
  /** From 0; never lower than that of an earlier package of the same playbook for the same cluster. */
  readonly sequence: number;
  readonly risk: RiskLevel;
  readonly reason: string;
  /** How long each step is waited for until its objects are ready; no waiting where it is left out. */
  readonly waitSeconds?: number;
  readonly onFailure?: Wpk['onFailure'];
}

export interface PackedWpk {
  readonly wpk: Wpk;
  /** The bytes to sign and send, as they are. */
  readonly payload: Uint8Array;
}

/**
 * Makes a work package with an id of its own.
 * @throws {ConnectorError} MANIFEST_INVALID, and all that `parseWpk` finds wrong with the result
 */
export function packWpk(input: PackInput): PackedWpk {
  const steps = [...applyStep(input), ...restartSteps(input)];
  const notBefore = wholeSeconds(input.notBefore);
  const wpk: Wpk = {
    apiVersion: WPK_API_VERSION,
    kind: 'WorkPackage',
    metadata: {
      id: ulid(),
      name: input.name,
      playbook: { id: input.playbook.id, version: input.playbook.version },
      author: input.author,
      sequence: input.sequence,
      notBefore: toTimestamp(notBefore),
      expiresAt: toTimestamp(new Date(notBefore.getTime() + input.validForSeconds * 1000)),
    },
    target: { clusterId: input.clusterId, namespaces: [...(input.namespaces ?? namespacesOf(steps))] },
    risk: input.risk,
    reason: input.reason,
    steps,
    onFailure: input.onFailure ?? 'halt',
  };
  const payload = toBytes(wpk);
  return { wpk: parseWpk(payload), payload };
}

function applyStep({ manifests, namespace, waitSeconds }: PackInput): Step[] {
  if (manifests.length === 0) return [];
  const complete = manifests.map((manifest) => withNamespace(manifest, namespace));
  return [{ id: 'apply', action: 'apply', manifests: complete, ...waitFor(waitSeconds) }];
}

function restartSteps({ restarts = [], manifests, namespace, waitSeconds }: PackInput): Step[] {
  return restarts.map((target, index) => {
    const applied = manifests.find(({ kind, metadata }) => kind === target.kind && metadata.name === target.name);
    const home = target.namespace ?? applied?.metadata.namespace ?? namespace;
    if (home === undefined) {
      const sentence = `${target.kind} ${target.name} is to be restarted, but no namespace was given.`;
      throw new ConnectorError('MANIFEST_INVALID', sentence);
    }
    const id = restarts.length === 1 ? 'restart' : `restart-${index + 1}`;
    return { id, action: 'restart', target: { ...target, namespace: home }, ...waitFor(waitSeconds) };
  });
}

function waitFor(timeoutSeconds: number | undefined): Pick<Step, 'wait'> {
  return timeoutSeconds === undefined ? {} : { wait: { for: 'ready', timeoutSeconds } };
}

function namespacesOf(steps: readonly Step[]): string[] {
  const touched = steps.flatMap((step) => targetsOf(step).map(({ namespace }) => namespace));
  return [...new Set(touched.filter((namespace) => namespace !== undefined))].sort();
}

function wholeSeconds(time: Date): Date {
  return new Date(Math.floor(time.getTime() / 1000) * 1000);
}

function toTimestamp(time: Date): string {
  return time.toISOString().replace('.000Z', 'Z');
}

/** Indented for people who review it, unless only the short form fits the limit. */
function toBytes(wpk: Wpk): Uint8Array {
  const pretty = new TextEncoder().encode(`${JSON.stringify(wpk, null, 2)}\n`);
  return pretty.length <= WPK_MAX_BYTES ? pretty : new TextEncoder().encode(JSON.stringify(wpk));
}
