import { isDeepStrictEqual } from 'node:util';
import type { KubeObject } from '../../../activities/kubernetes/kube-object.ts';
import { at, isRecord, listAt } from '../../../activities/kubernetes/kube-object.ts';
import type { Path } from './fields.ts';
import { describePath, fieldsOf, keyOf, mergedInto, pathsIn, sameValue, toFieldsV1, withoutPath } from './fields.ts';
import { fieldConflicts } from './refusal.ts';

/**
 * Server-side apply and the ownership of fields
 * (https://kubernetes.io/docs/reference/using-api/server-side-apply/), on objects without schemas.
 */

interface Owner {
  readonly manager: string;
  readonly operation: 'Apply' | 'Update';
  readonly subresource?: string;
  readonly apiVersion: string;
  readonly time: string;
  readonly fields: ReadonlyMap<string, Path>;
}

/** Who writes, and how. */
export interface Writing {
  readonly manager: string;
  readonly now: Date;
  readonly subresource?: 'status';
}

/**
 * Applies a manifest: sets what it says, removes what this manager said before and says no longer.
 * @throws {Refusal} 409 where another manager owns a field that it sets to something else, unless `force` is set
 */
export function applied(
  live: KubeObject | undefined,
  manifest: KubeObject,
  { manager, now, force }: Writing & { readonly force: boolean },
): KubeObject {
  const wanted = fieldsOf(manifest);
  const found = fieldsOf(live);
  const owners = ownersOf(live);
  const isOwn = (owner: Owner) => owner.manager === manager && owner.operation === 'Apply';
  const others = owners.filter((owner) => !isOwn(owner));

  const contested = new Map<string, Path>();
  const conflicts = [];
  for (const [key, field] of wanted) {
    if (!('value' in field) || sameValue(found.get(key), field)) continue;
    for (const owner of others) {
      if (!owner.fields.has(key)) continue;
      contested.set(key, field.path);
      conflicts.push({ manager: owner.manager, using: owner.apiVersion, field: describePath(field.path) });
    }
  }
  if (conflicts.length > 0 && !force) throw fieldConflicts(conflicts);

  const left = others.map((owner) => without(owner, contested));
  let object: unknown = live ?? {};
  const owned = new Set(left.flatMap((owner) => [...owner.fields.keys()]));
  const dropped = [...(owners.find(isOwn)?.fields ?? [])].filter(([key]) => !wanted.has(key) && !owned.has(key));
  // Of the items of lists the outermost goes last, when nothing of its own is left in it.
  for (const [, path] of dropped.sort(([, a], [, b]) => b.length - a.length)) object = withoutPath(object, path);
  object = mergedInto(object, manifest);
  const fields = new Map([...wanted].map(([key, { path }]) => [key, path]));
  const own = { manager, operation: 'Apply', apiVersion: manifest.apiVersion, time: stamp(now), fields } as const;
  return withOwners(object as KubeObject, [...left, own], owners); // a manifest makes it an object
}

/** Notes who changed what between two states of an object, other than by apply. */
export function updated(before: KubeObject | undefined, after: KubeObject, writing: Writing): KubeObject {
  const { manager, now, subresource } = writing;
  const part = subresource ?? 'rest';
  const [was, is] = [fieldsOf(before, part), fieldsOf(after, part)];
  const set = [...is].filter(([key, field]) => !was.has(key) || !isDeepStrictEqual(was.get(key)?.value, field.value));
  const gone = [...was].filter(([key]) => !is.has(key)).map(([key, { path }]) => [key, path] as const);
  const changed = new Map([...set.map(([key, { path }]) => [key, path] as const), ...gone]);
  const owners = ownersOf(before);
  const isOwn = (owner: Owner) =>
    owner.manager === manager && owner.operation === 'Update' && owner.subresource === subresource;
  // What is there under another key than before still belongs to whoever said so.
  const left = owners.filter((owner) => !isOwn(owner)).map((owner) => without(owner, changed));
  const kept = without(owners.find(isOwn) ?? { fields: new Map<string, Path>() }, new Map(gone)).fields;
  const fields = new Map([...kept, ...set.map(([key, { path }]) => [key, path] as const)]);
  const own = {
    ...({ manager, operation: 'Update', apiVersion: after.apiVersion, time: stamp(now), fields } as const),
    ...(subresource && { subresource }),
  };
  return withOwners(after, [...left, own], owners);
}

function without<T extends Pick<Owner, 'fields'>>(owner: T, taken: ReadonlyMap<string, Path>): T {
  return { ...owner, fields: new Map([...owner.fields].filter(([key]) => !taken.has(key))) };
}

function ownersOf(object: KubeObject | undefined): Owner[] {
  return listAt(object, 'metadata', 'managedFields').map((entry) => {
    const text = (name: string) => String(at(entry, name) ?? '');
    const subresource = at(entry, 'subresource');
    return {
      manager: text('manager'),
      operation: text('operation') === 'Apply' ? 'Apply' : 'Update',
      ...(typeof subresource === 'string' && subresource !== '' && { subresource }),
      apiVersion: text('apiVersion'),
      time: text('time'),
      fields: new Map(pathsIn(at(entry, 'fieldsV1')).map((path) => [keyOf(path), path])),
    };
  });
}

function withOwners(object: KubeObject, owners: readonly Owner[], before: readonly Owner[]): KubeObject {
  const managedFields = owners
    .filter(({ fields }) => fields.size > 0)
    .map((owner) => {
      const same = before.find(
        (old) =>
          old.manager === owner.manager &&
          old.operation === owner.operation &&
          old.subresource === owner.subresource &&
          isDeepStrictEqual([...old.fields.keys()].sort(), [...owner.fields.keys()].sort()),
      );
      const { fields, time, ...rest } = owner;
      return { ...rest, time: same?.time ?? time, fieldsType: 'FieldsV1', fieldsV1: toFieldsV1(fields.values()) };
    });
  return { ...object, metadata: { ...(isRecord(object.metadata) ? object.metadata : { name: '' }), managedFields } };
}

/** To the second, as the API server notes it. */
function stamp(now: Date): string {
  return now.toISOString().replace(/\.\d+Z$/, 'Z');
}
