export { executeWpk } from './execute-wpk.ts';
