export { auditRead, auditRetention, auditUpload, payloadRead } from './audit-upkeep.ts';
export { executeWpk } from './execute-wpk.ts';
export { heartbeat } from './heartbeat.ts';
export { metrics } from './metrics.ts';
export { rollbackWpk } from './rollback-wpk.ts';
export { reconcile } from './reconcile.ts';
export { registration } from './registration.ts';
export { relayAlert } from './relay-alert.ts';
