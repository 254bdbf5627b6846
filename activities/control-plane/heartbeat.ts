import type { SignedHead } from '../../domain/audit-head.ts';
import { parseSignedHead } from '../../domain/audit-head.ts';
import { isSimulated } from '../../domain/simulation.ts';
import type { ComponentHealth, Heartbeat } from '../../domain/control-plane.ts';
import type { HeadLeases } from '../kubernetes/writer.ts';
import type { PolicySource } from '../policy/load-policy.ts';
import type { PhaseCounts } from '../temporal/phase-counts.ts';
import { policyDigestOf } from './registration.ts';

export interface HeartbeatDeps {
  readonly clusterId: string;
  readonly writer: string;
  readonly versions: Heartbeat['versions'];
  readonly now: () => Date;
  readonly countPackages: () => Promise<PhaseCounts>;
  readonly leases: Pick<HeadLeases, 'list'>;
  readonly policy: PolicySource;
  /** The emergency stop, as far as it can be told. */
  readonly freeze: () => Promise<{ readonly state: 'open' | 'frozen' | 'unknown'; readonly since?: string }>;
  readonly components: () => readonly ComponentHealth[];
  readonly clockOffsetMs: () => number | undefined;
  /** Alerts that wait on this process's disk. */
  readonly alerts: () => Heartbeat['alerts'];
}

/** The newest: each pod that ever wrote has a Lease for as long as what it wrote is kept. */
const MAX_HEADS = 1_000;

/**
 * Collects what a beat tells. A part that is away is missing in it, and the beat goes out all the same: it is what says
 * that the rest lives.
 */
export async function describeHeartbeat(deps: HeartbeatDeps): Promise<Heartbeat> {
  const { clusterId, writer, versions } = deps;
  const [packages, freeze, heads, policyDigest] = await Promise.all([
    deps.countPackages().catch(() => undefined),
    deps.freeze(),
    headsOf(deps).catch(() => undefined),
    policyDigestOf(deps.policy),
  ]);
  const clockOffsetMs = deps.clockOffsetMs();
  return {
    clusterId,
    writer,
    sentAt: deps.now().toISOString(),
    ...(packages && { packages }),
    // Why and by whom is the customer's own affair.
    freeze: { state: freeze.state, ...(freeze.since !== undefined && { since: freeze.since }) },
    ...(heads && { heads }),
    versions,
    components: [...deps.components()],
    ...(clockOffsetMs !== undefined && { clockOffsetMs }),
    ...(policyDigest && { policyDigest }),
    alerts: deps.alerts(),
    ...(isSimulated(clusterId) && { simulated: true }),
  };
}

/** What is no signed head is left out: the other side misses it then, which is what it is for. */
async function headsOf({ leases, clusterId }: HeartbeatDeps): Promise<SignedHead[]> {
  const all = await leases.list(clusterId);
  const newest = all.sort((a, b) => b.renewedAt.getTime() - a.renewedAt.getTime()).slice(0, MAX_HEADS);
  return newest.map(({ head }) => parseSignedHead(head)).filter((head) => head !== undefined);
}
