import type { Step, Wpk } from '../../domain/wpk.ts';

/** A restart of a Deployment in `shop`. */
export function buildRestart(id = 'restart'): Step {
  return { id, action: 'restart', target: { kind: 'Deployment', name: 'checkout', namespace: 'shop' } };
}

/** A well-formed package whose times never matter: for tests of the form alone. */
export function buildWpk(changes: Partial<Wpk> = {}): Wpk {
  return {
    apiVersion: 'neuralops.io/v1',
    kind: 'WorkPackage',
    metadata: {
      id: '01JD0000000000000000000000',
      name: 'restart-checkout',
      playbook: { id: 'restart-deployment', version: '3' },
      author: 'alice@example.com',
      sequence: 42,
      notBefore: '2026-01-01T00:00:00Z',
      expiresAt: '2026-01-01T12:00:00Z',
    },
    target: { clusterId: 'prod-eu-1', namespaces: ['shop'] },
    risk: 'low',
    reason: 'checkout pods leak memory since 14:00',
    steps: [buildRestart()],
    onFailure: 'halt',
    ...changes,
  };
}

export function toBytes(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}
