import type { Alert, Heartbeat, Liveness, Registration } from '../../domain/control-plane.ts';
import { livenessOf } from '../../domain/control-plane.ts';
import type { Alarm, ClusterRow, Store } from './store.ts';

/** A cluster as an operator of the control plane sees it. */
export interface ClusterOverview {
  readonly clusterId: string;
  readonly liveness: Liveness;
  readonly registeredAt: string;
  readonly renewedAt: string;
  readonly lastBeatAt?: string;
  /** How many alarms its audit heads have raised. */
  readonly alarms: number;
}

export interface ClusterDetails extends Omit<ClusterOverview, 'alarms'> {
  readonly registration: Registration;
  readonly lastBeat?: Omit<Heartbeat, 'heads'>;
  /** When beats came within the last 24 hours. */
  readonly beats: readonly string[];
  readonly alarms: readonly (Omit<Alarm, 'at'> & { readonly at: string })[];
  readonly alerts: readonly (Alert & { readonly receivedAt: string })[];
  /** Ids of the batches of metrics of the last 24 hours. */
  readonly batches: readonly string[];
}

interface Overview {
  readonly store: Store;
  readonly liveness: { readonly alive: number; readonly stale: number };
  readonly now: number;
}

export function describeClusters(overview: Overview): ClusterOverview[] {
  return overview.store.clusters().map((row) => {
    const alarms = overview.store.alarms(row.registration.clusterId).length;
    return { ...common(overview, row), alarms };
  });
}

export function describeCluster(overview: Overview, row: ClusterRow): ClusterDetails {
  const { store } = overview;
  const { registration, lastBeat } = row;
  const { clusterId } = registration;
  return {
    ...common(overview, row),
    registration,
    ...(lastBeat && { lastBeat }),
    beats: store.beatTimes(clusterId).map(timeOf),
    alarms: store.alarms(clusterId).map(({ at, ...alarm }) => ({ ...alarm, at: timeOf(at) })),
    alerts: store
      .signals(clusterId, 'alert')
      .flatMap(({ signal, receivedAt }) =>
        signal.kind === 'alert' ? [{ ...signal.alert, receivedAt: timeOf(receivedAt) }] : [],
      ),
    batches: store
      .signals(clusterId, 'metrics')
      .flatMap(({ signal }) => (signal.kind === 'metrics' ? [signal.batch.id] : [])),
  };
}

/** One that has registered and never beaten counts from its registration. */
function common({ liveness, now }: Overview, { registration, registeredAt, renewedAt, lastBeatAt }: ClusterRow) {
  return {
    clusterId: registration.clusterId,
    liveness: livenessOf(now - (lastBeatAt ?? registeredAt), liveness),
    registeredAt: timeOf(registeredAt),
    renewedAt: timeOf(renewedAt),
    ...(lastBeatAt !== undefined && { lastBeatAt: timeOf(lastBeatAt) }),
  };
}

function timeOf(ms: number): string {
  return new Date(ms).toISOString();
}
