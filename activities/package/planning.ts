import { deflateSync } from 'node:zlib';
import { canonicalJson, type Sha256 } from '../../domain/digest.ts';
import { ConnectorError } from '../../domain/errors.ts';
import type { Plan, PlannedObject } from '../../domain/plan.ts';
import { bindingOf, planDigest } from '../../domain/plan.ts';
import { resultDenials } from '../../domain/policy.ts';
import { computeRisk } from '../../domain/risk.ts';
import type { DryRun, Planner } from '../kubernetes/planner.ts';
import type { AdmittedWpk } from './admission.ts';

/** What the differences of a plan may take, compressed: Temporal refuses payloads of 2 MB. */
const MAX_COMPRESSED_BYTES = 1_500_000;
/** And uncompressed: the codec refuses to unpack 8 MiB. */
const MAX_PLAIN_BYTES = 6_000_000;

/** How many refusals of the API server a plan tells. */
const MAX_PROBLEMS = 100;

/** A plan together with what is needed to carry it out, which never leaves the worker. */
export interface MadePlan {
  readonly plan: Plan;
  readonly dryRun: DryRun;
}

/**
 * Makes the plan of a package against the cluster as it is now.
 * @param done ids of steps that were carried out already: what is left is planned
 * @throws {ConnectorError} POLICY_DENIED for what it would become, KUBERNETES_UNAVAILABLE, KUBERNETES_FORBIDDEN
 */
export async function makePlan(
  planner: Planner,
  sha256: Sha256,
  { wpk, wpkDigest, policy }: Pick<AdmittedWpk, 'wpk' | 'wpkDigest' | 'policy'>,
  signal?: AbortSignal,
  done?: ReadonlySet<string>,
): Promise<MadePlan> {
  const dryRun = await planner.dryRun(wpk, wpkDigest, signal, done);
  const objects = fitForTemporal(dryRun.writes.map(({ planned }) => planned));
  const subjects = dryRun.writes.map(({ planned, before, after }, index) => ({
    planned: objects[index] ?? planned,
    before,
    after,
  }));
  const { clusterUid } = dryRun;
  const problems = dryRun.problems.slice(0, MAX_PROBLEMS);
  const changing = dryRun.writes.filter(({ planned }) => planned.change !== 'unchanged');
  const denials = resultDenials(
    policy.policy,
    changing.map(({ after }) => after),
  );
  if (denials.length > 0) throw new ConnectorError('POLICY_DENIED', `${denials.join('; ')}.`);
  const risk = computeRisk(subjects, problems, wpk.risk);
  const unsigned = { wpkDigest, clusterUid, policyDigest: policy.digest, objects, risk };
  return { plan: { ...unsigned, problems, digest: planDigest(sha256, bindingOf(unsigned)) }, dryRun };
}

/**
 * Leaves out the longest differences of a plan that Temporal could not carry; each object keeps its action and its
 * digest, which covers what is left out. What is not shown raises the risk.
 */
function fitForTemporal(objects: readonly PlannedObject[]): readonly PlannedObject[] {
  const sizes = objects.map(({ changes }) => JSON.stringify(changes).length);
  const total = sizes.reduce((sum, size) => sum + size, 0);
  if (total <= MAX_COMPRESSED_BYTES) return objects;
  // In canonical form: the order of keys in the server's answers must not decide what is left out.
  const compressed = deflateSync(canonicalJson(objects), { level: 1 }).length;
  const ratio = Math.min(1, MAX_COMPRESSED_BYTES / compressed, MAX_PLAIN_BYTES / total);
  if (ratio === 1) return objects;
  let left = total;
  const omitted = new Set<number>();
  const longestFirst = sizes
    .map((size, index) => ({ size, index }))
    .sort((a, b) => b.size - a.size || a.index - b.index);
  for (const { size, index } of longestFirst) {
    if (left <= total * ratio) break;
    omitted.add(index);
    left -= size;
  }
  return objects.map((object, index) =>
    omitted.has(index) ? { ...object, changes: [], changesOmitted: true } : object,
  );
}
