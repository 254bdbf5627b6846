import { toPointer } from './json-pointer.ts';
import type { PathChange } from './plan.ts';

/** Where a comparison is: the keys and indexes so far, and the list items among them that go by a name. */
interface Place {
  readonly path: readonly (string | number)[];
  readonly names?: Readonly<Record<string, string>>;
}

/**
 * The differences between two JSON values, in the order of sorted keys. A map that comes is told by what it holds, so
 * that a difference is the same whether somebody else has put something beside it or not: the first annotation of an
 * object is no other change than its second. Everything else that is there on one side only is one difference, the
 * whole value and each item of a list among them: a map that goes may leave an empty one behind, which is not the same.
 * Lists whose items all have a `name`, in the same order on both sides, are compared by name (so that one container
 * more is one difference), all others by index: the order of containers and variables means something. A path of what
 * goes away is where it was, all others are where it will be.
 * @param before undefined where nothing was there
 * @param after undefined where nothing will be
 */
export function diffPaths(before: unknown, after: unknown): PathChange[] {
  const changes: PathChange[] = [];
  collect(before, after, { path: [] }, changes);
  return changes;
}

function collect(before: unknown, after: unknown, place: Place, changes: PathChange[]): void {
  if (before === after) return;
  if (Array.isArray(before) && Array.isArray(after)) return collectItems(before, after, place, changes);
  const was = isObject(before) ? before : before === undefined && comesByKey(after, place) ? NOTHING : undefined;
  const will = isObject(after) ? after : after === undefined && goesByKey(before, place) ? NOTHING : undefined;
  if (was && will) {
    const keys = Object.keys(was).concat(Object.keys(will).filter((key) => !Object.hasOwn(was, key)));
    for (const key of keys.sort()) collect(own(was, key), own(will, key), below(place, key), changes);
    return;
  }
  changes.push({
    path: toPointer(place.path),
    ...(before === undefined ? {} : { before }),
    ...(after === undefined ? {} : { after }),
    ...(place.names && { names: place.names }),
  });
}

const NOTHING: Readonly<Record<string, unknown>> = {};

function comesByKey(after: unknown, { path }: Place): boolean {
  return typeof path.at(-1) === 'string' && isObject(after) && Object.keys(after).length > 0;
}

/** Labels and annotations: to the API server an empty map of them is none. */
function goesByKey(before: unknown, { path }: Place): boolean {
  const [parent, last] = path.slice(-2);
  return parent === 'metadata' && (last === 'labels' || last === 'annotations') && isObject(before);
}

function collectItems(
  before: readonly unknown[],
  after: readonly unknown[],
  place: Place,
  changes: PathChange[],
): void {
  const item = (was: unknown, will: unknown, index: number) =>
    collect(was, will, below(place, index, nameOf(was) === nameOf(will) ? nameOf(will) : undefined), changes);
  const [namesBefore, namesAfter] = [namesOf(before), namesOf(after)];
  if (!namesBefore || !namesAfter || !sameOrder(namesBefore, namesAfter)) {
    for (let index = 0; index < Math.max(before.length, after.length); index++) {
      item(before[index], after[index], index);
    }
    return;
  }
  const stays = new Set(namesAfter);
  const was = new Map(namesBefore.map((name, index) => [name, before[index]]));
  namesBefore.forEach((name, index) => {
    if (!stays.has(name)) item(before[index], undefined, index);
  });
  namesAfter.forEach((name, index) => item(was.get(name), after[index], index));
}

function below({ path, names }: Place, key: string | number, name?: string): Place {
  const inner = [...path, key];
  const all = name === undefined ? names : { ...names, [toPointer(inner)]: name };
  return { path: inner, ...(all && { names: all }) };
}

function nameOf(item: unknown): string | undefined {
  return isObject(item) && typeof item['name'] === 'string' ? item['name'] : undefined;
}

/** The names of all items, or undefined where one has none or shares its name. */
function namesOf(items: readonly unknown[]): string[] | undefined {
  const names = items.flatMap((item) => nameOf(item) ?? []);
  return names.length === items.length && new Set(names).size === names.length ? names : undefined;
}

function sameOrder(before: readonly string[], after: readonly string[]): boolean {
  const [was, will] = [new Set(before), new Set(after)];
  const common = after.filter((name) => was.has(name));
  return before.filter((name) => will.has(name)).every((name, index) => name === common[index]);
}

function own(object: Readonly<Record<string, unknown>>, key: string): unknown {
  return Object.hasOwn(object, key) ? object[key] : undefined;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
