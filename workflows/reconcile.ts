import type { Reconciled } from '../activities/package/reconcile.ts';
import { reconcilePackages } from './activities.ts';

/** Run by a schedule: notices packages whose runs were ended from outside, which the runs themselves cannot. */
export async function reconcile(): Promise<Reconciled> {
  return reconcilePackages({});
}
