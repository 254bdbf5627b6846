import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/**
 * To be imported before anything else. A process that executes nothing does little and waits a lot: V8 is told to prefer
 * small to fast (`node --v8-options`), which spares 7 MiB; it must know before the heap has grown.
 */
const named = [...process.argv.slice(2), process.env['BYOC_ROLES'] ?? ''].join(' ');
const isSmall = /registration|metrics/.test(named) && !named.includes('execution');
if (isSmall) setFlagsFromString('--optimize-for-size');

/** Temporal's SDK keeps a first copy of the workflows for 10 s, for debuggers. */
const START_IS_OVER_MS = 15_000;

/**
 * Gives back what only the start has needed: an idle process allocates too little for V8 to look by itself. As the
 * last resort V8 also forgets code that was compiled for the start alone, and returns emptied pages. The way to `gc`
 * without a flag on the command line is that of Node's own documentation.
 * @see https://nodejs.org/api/v8.html#v8setflagsfromstringflags
 */
export function forgetStart(): void {
  if (!isSmall) return;
  setFlagsFromString('--expose-gc');
  const gc = runInNewContext('gc') as (how: object) => void; // V8's own function
  setTimeout(() => gc({ type: 'major', execution: 'sync', flavor: 'last-resort' }), START_IS_OVER_MS).unref();
}
