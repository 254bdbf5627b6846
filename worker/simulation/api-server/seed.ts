import { randomUUID } from 'node:crypto';
import { SERVED } from './kinds.ts';
import type { ObjectStore } from './store.ts';
import { created } from './store.ts';

/** What every cluster has from its beginning; its UID says what it is. */
export function seed(store: ObjectStore): void {
  const now = new Date();
  const make = (kindName: string, name: string, labels: Record<string, string>, rest: object, uid?: string) => {
    const kind = SERVED.find((one) => one.kind === kindName);
    if (!kind) return;
    const object = created(
      { kind, name },
      { apiVersion: 'v1', kind: kindName, metadata: { name, labels }, ...rest },
      now,
    );
    store.put({ kind, name }, uid === undefined ? object : { ...object, metadata: { ...object.metadata, uid } });
  };
  for (const name of ['default', 'kube-system', 'kube-public']) {
    const labels = { 'kubernetes.io/metadata.name': name };
    const uid = name === 'kube-system' ? `simulated-${randomUUID()}` : undefined;
    make('Namespace', name, labels, { status: { phase: 'Active' } }, uid);
  }
  const labels = {
    'kubernetes.io/hostname': 'simulated-node',
    'kubernetes.io/os': 'linux',
    'kubernetes.io/arch': 'amd64',
    'topology.kubernetes.io/region': 'simulated',
  };
  const ready = { conditions: [{ type: 'Ready', status: 'True', reason: 'Simulated' }] };
  make('Node', 'simulated-node', labels, { spec: {}, status: ready });
}
