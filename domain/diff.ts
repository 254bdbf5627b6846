import { toPointer } from './json-pointer.ts';
import type { PathChange } from './plan.ts';

type Path = readonly (string | number)[];

/**
 * The differences between two JSON values, in the order of sorted keys; what is there on one side only is one
 * difference, not one for each of its leaves. Lists whose items all have a `name`, in the same order on both sides, are
 * compared by name (so that one container more is one difference), all others by index: the order of containers and
 * variables means something. A path of what goes away is where it was, all others are where it will be.
 * @param before undefined where nothing was there
 * @param after undefined where nothing will be
 */
export function diffPaths(before: unknown, after: unknown): PathChange[] {
  const changes: PathChange[] = [];
  collect(before, after, [], changes);
  return changes;
}

function collect(before: unknown, after: unknown, path: Path, changes: PathChange[]): void {
  if (before === after) return;
  if (Array.isArray(before) && Array.isArray(after)) {
    collectItems(before, after, path, changes);
  } else if (isObject(before) && isObject(after)) {
    const keys = Object.keys(before).concat(Object.keys(after).filter((key) => !Object.hasOwn(before, key)));
    for (const key of keys.sort()) collect(own(before, key), own(after, key), [...path, key], changes);
  } else {
    changes.push({
      path: toPointer(path),
      ...(before === undefined ? {} : { before }),
      ...(after === undefined ? {} : { after }),
    });
  }
}

function collectItems(before: readonly unknown[], after: readonly unknown[], path: Path, changes: PathChange[]): void {
  const [namesBefore, namesAfter] = [namesOf(before), namesOf(after)];
  if (!namesBefore || !namesAfter || !sameOrder(namesBefore, namesAfter)) {
    for (let index = 0; index < Math.max(before.length, after.length); index++) {
      collect(before[index], after[index], [...path, index], changes);
    }
    return;
  }
  const stays = new Set(namesAfter);
  namesBefore.forEach((name, index) => {
    if (!stays.has(name)) collect(before[index], undefined, [...path, index], changes);
  });
  namesAfter.forEach((name, index) => {
    collect(before[namesBefore.indexOf(name)], after[index], [...path, index], changes);
  });
}

/** The names of all items, or undefined where one has none or shares its name. */
function namesOf(items: readonly unknown[]): string[] | undefined {
  const names = items.flatMap((item) => (isObject(item) && typeof item['name'] === 'string' ? [item['name']] : []));
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
