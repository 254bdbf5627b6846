/** What processes without the role `execution` run: a bundle of its own, because the other one takes room. */
export { auditRetention, auditUpload } from './audit-upkeep.ts';
export { heartbeat } from './heartbeat.ts';
export { metrics } from './metrics.ts';
export { registration } from './registration.ts';
export { relayAlert } from './relay-alert.ts';
