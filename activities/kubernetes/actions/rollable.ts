import type { ObjectRef } from '../../../domain/plan.ts';

/** Kinds whose pods are replaced one after the other, revision by revision. */
const ROLLABLE = ['Deployment', 'StatefulSet', 'DaemonSet'];

export function refuseUnlessRollable({ kind, apiVersion }: ObjectRef, done: string): string | undefined {
  if (ROLLABLE.includes(kind) && apiVersion.startsWith('apps/')) return undefined;
  return `a ${kind} cannot be ${done}, only ${ROLLABLE.join(', ')} can`;
}
