import type { Manifest, Wpk } from '../../domain/wpk.ts';
import { type Discovery, groupOf, type Resource } from './discovery.ts';
import { at } from './kube-object.ts';

/** What later parts of a package stand on: the namespaces and kinds that it creates, with the step that does. */
export interface Created {
  readonly namespaces: ReadonlyMap<string, number>;
  /** By apiVersion and kind. */
  readonly kinds: ReadonlyMap<string, OwnKind>;
}

type OwnKind = Resource & { readonly stepIndex: number };

// RFC 1123, as the API server has them for custom resources, whose groups are domains.
const LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const isDomain = (group: string) => group.includes('.') && group.split('.').every((label) => LABEL.test(label));

export function createdBy(wpk: Wpk): Created {
  const namespaces = new Map<string, number>();
  const kinds = new Map<string, OwnKind>();
  for (const [stepIndex, step] of wpk.steps.entries()) {
    if (step.action !== 'apply') continue;
    for (const manifest of step.manifests) {
      const { name } = manifest.metadata;
      if (manifest.apiVersion === 'v1' && manifest.kind === 'Namespace' && !namespaces.has(name)) {
        namespaces.set(name, stepIndex);
      }
      for (const own of kindsOf(manifest)) kinds.set(`${own.apiVersion} ${own.kind}`, { ...own, stepIndex });
    }
  }
  return { namespaces, kinds };
}

/**
 * A kind that the package itself brings, from the step on that does. Where the API server serves another kind at the
 * same place it is none: a definition that only claims to be there would lead past the rules for the other kind.
 */
export async function ownKindOf(
  { kinds }: Created,
  key: string,
  stepIndex: number,
  discovery: Discovery,
): Promise<Resource | undefined> {
  const own = kinds.get(key);
  if (!own || own.stepIndex > stepIndex) return undefined;
  const served = await discovery.servedAt(groupOf(own.apiVersion), own.plural);
  const isNewVersion = served?.kind === own.kind && served.namespaced === own.namespaced;
  return !served || isNewVersion ? own : undefined;
}

/** The kinds of a definition; none where a name in it is not what a URL is made of. */
function kindsOf({ apiVersion, kind, spec }: Manifest): Resource[] {
  if (kind !== 'CustomResourceDefinition' || groupOf(apiVersion) !== 'apiextensions.k8s.io') return [];
  const text = (...path: readonly string[]) => String(at(spec, ...path) ?? '');
  const [group, plural] = [text('group'), text('names', 'plural')];
  if (!isDomain(group) || !LABEL.test(plural)) return [];
  const versions = at(spec, 'versions');
  return (Array.isArray(versions) ? versions : []).flatMap((version) => {
    const name = String(at(version, 'name') ?? '');
    if (!LABEL.test(name)) return [];
    return [
      {
        apiVersion: `${group}/${name}`,
        kind: text('names', 'kind'),
        plural,
        namespaced: text('scope') === 'Namespaced',
        scalable: at(version, 'subresources', 'scale') !== undefined,
      },
    ];
  });
}
