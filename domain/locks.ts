import { ConnectorError } from './errors.ts';
import { targetsOf } from './wpk.ts';
import type { Wpk } from './wpk.ts';

/**
 * Packages that touch the same objects are executed one after the other. Each takes all of its objects at once or none,
 * so that no two can wait for each other.
 */

/** What a package needs for itself, as names that people can read. */
export interface Claims {
  /** Objects that it changes: for it alone. */
  readonly alone: readonly string[];
  /** Namespaces that must not be deleted under it, which others may be at work in as well. */
  readonly within: readonly string[];
}

/** One holder, as the table of locks keeps it. Names are kept as short hashes: a package may have a thousand objects. */
export interface Holder {
  readonly runId: string;
  /** Name of the Lease of the executor that is at it; empty between two attempts. */
  readonly executor: string;
  /** RFC 3339. */
  readonly since: string;
  readonly alone: readonly string[];
  readonly within: readonly string[];
}

/** Who holds what, by the package's id. */
export type LockTable = ReadonlyMap<string, Holder>;

/**
 * What a package must have for itself. Objects are told apart by kind, namespace and name: the same word in two API groups
 * is mostly the same object, and where it is not, waiting for the other does no harm.
 */
export function claimsOf(wpk: Wpk): Claims {
  const alone = new Set<string>();
  const within = new Set<string>();
  for (const step of wpk.steps) {
    if (READING.has(step.action)) continue;
    for (const { kind, namespace, name } of targetsOf(step)) {
      alone.add(namespace === undefined ? `${kind} ${name}` : `${kind} ${namespace}/${name}`);
      if (namespace !== undefined) within.add(everythingIn(namespace));
      if (kind === 'Namespace' && step.action === 'delete') alone.add(everythingIn(name));
    }
  }
  return { alone: [...alone], within: [...within].filter((one) => !alone.has(one)) };
}

/** Actions that change nothing. */
const READING: ReadonlySet<string> = new Set(['wait']);

function everythingIn(namespace: string): string {
  return `everything in ${namespace}`;
}

/** The first holder that a package has to wait for, and what both want; undefined where it may go on. */
export function blockerOf(
  table: LockTable,
  wpkId: string,
  wanted: Pick<Holder, 'alone' | 'within'>,
): { readonly wpkId: string; readonly holder: Holder; readonly hash: string } | undefined {
  const alone = new Set(wanted.alone);
  const within = new Set(wanted.within);
  for (const [other, holder] of table) {
    if (other === wpkId) continue;
    const hash =
      holder.alone.find((one) => alone.has(one) || within.has(one)) ?? holder.within.find((one) => alone.has(one));
    if (hash !== undefined) return { wpkId: other, holder, hash };
  }
  return undefined;
}

/** @throws {ConnectorError} OBJECTS_LOCKED for a text that `writeHolder` did not make: who holds what cannot be told then */
export function readHolder(text: string): Holder {
  const [runId, executor, since, alone, within] = text.split('\n');
  if (
    runId === undefined ||
    executor === undefined ||
    since === undefined ||
    alone === undefined ||
    within === undefined
  )
    throw new ConnectorError('OBJECTS_LOCKED', 'The table of locks is damaged.');
  return { runId, executor, since, alone: words(alone), within: words(within) };
}

export function writeHolder({ runId, executor, since, alone, within }: Holder): string {
  return [runId, executor, since, alone.join(' '), within.join(' ')].join('\n');
}

function words(line: string): string[] {
  return line === '' ? [] : line.split(' ');
}
