import { toPointer } from '../../domain/json-pointer.ts';
import { canonicalJson } from '../../domain/digest.ts';
import { isRecord } from './kube-object.ts';

export interface Reverted {
  readonly value: unknown;
  /** Where somebody else changed what was to be undone, as JSON pointers. */
  readonly conflicts: readonly string[];
}

/**
 * Takes back one change and nothing else: what is in `live` as `after` has it becomes as in `before`; what differs from
 * both was changed by somebody else. Where before and after agree, `live` is kept, whatever it says. Lists are gone
 * through by the names of their items, and otherwise taken as a whole.
 */
export function reverted(before: unknown, after: unknown, live: unknown): Reverted {
  const conflicts: string[] = [];
  return { value: revert(before, after, live, [], conflicts), conflicts };
}

function revert(before: unknown, after: unknown, live: unknown, path: readonly string[], conflicts: string[]): unknown {
  if (same(before, after)) return live;
  if (same(live, after)) return before;
  if (same(live, before)) return live;
  if (isRecord(live) && (isRecord(before) || isRecord(after))) {
    return revertRecord(asRecord(before), asRecord(after), live, path, conflicts);
  }
  const [wasNamed, isNamed, liveNamed] = [named(before), named(after), named(live)];
  if (wasNamed && isNamed && liveNamed) return revertList(wasNamed, isNamed, liveNamed, path, conflicts);
  conflicts.push(toPointer(path));
  return live;
}

function revertRecord(
  before: Readonly<Record<string, unknown>>,
  after: Readonly<Record<string, unknown>>,
  live: Readonly<Record<string, unknown>>,
  path: readonly string[],
  conflicts: string[],
): unknown {
  const keys = new Set([...Object.keys(live), ...Object.keys(before), ...Object.keys(after)]);
  const entries = [...keys].flatMap((key) => {
    const value = revert(own(before, key), own(after, key), own(live, key), [...path, key], conflicts);
    return value === undefined ? [] : [[key, value] as const];
  });
  // A map that the change brought goes when nothing is left in it.
  return entries.length === 0 && Object.keys(before).length === 0 && path.length > 0
    ? undefined
    : Object.fromEntries(entries);
}

type Named = ReadonlyMap<string, unknown>;

/** Items keep the order that they have in `live`; those that the change took away come back behind their neighbours. */
function revertList(before: Named, after: Named, live: Named, path: readonly string[], conflicts: string[]): unknown {
  const names = [...live.keys()];
  let previous: string | undefined;
  for (const name of before.keys()) {
    if (!live.has(name)) names.splice(previous === undefined ? 0 : names.indexOf(previous) + 1, 0, name);
    previous = name;
  }
  return names.flatMap((name) => {
    const value = revert(before.get(name), after.get(name), live.get(name), [...path, name], conflicts);
    return value === undefined ? [] : [value];
  });
}

/** The items of a list by name; undefined where one has none or shares its name. */
function named(list: unknown): Named | undefined {
  if (!Array.isArray(list)) return undefined;
  const items = list.flatMap((item) =>
    isRecord(item) && typeof item['name'] === 'string' ? [[item['name'], item] as const] : [],
  );
  const map = new Map(items);
  return map.size === list.length ? map : undefined;
}

function same(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  return canonicalJson(a) === canonicalJson(b);
}

function asRecord(value: unknown): Readonly<Record<string, unknown>> {
  return isRecord(value) ? value : {};
}

function own(record: Readonly<Record<string, unknown>>, key: string): unknown {
  return Object.hasOwn(record, key) ? record[key] : undefined;
}
