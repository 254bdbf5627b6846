export { executeWpk } from './execute-wpk.ts';
export { reconcile } from './reconcile.ts';
