import { textAt } from './json-values.ts';

/**
 * What an image reference names, by the rules that container runtimes read it with (distribution/reference, its grammar
 * and its `ParseNormalizedNamed`). Compared as a plain text, one image has many spellings, and two that look alike may
 * be from different registries.
 */
export interface ImageReference {
  /** Registry and path: `docker.io/library/nginx` for `nginx`. The registry is in lower case: DNS knows no other. */
  readonly repository: string;
  readonly tag?: string;
  /** Decides alone where it is given: the tag beside it is not looked at by anybody. */
  readonly digest?: string;
}

const HOST = String.raw`(?:[A-Za-z0-9]+(?:[-.][A-Za-z0-9]+|--+[A-Za-z0-9]+)*|\[[0-9A-Fa-f:]+\])(?::[0-9]+)?`;
const SEGMENT = String.raw`[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*`;
const REFERENCE = new RegExp(
  String.raw`^(?<name>(?:${HOST}/)?${SEGMENT}(?:/${SEGMENT})*)(?::(?<tag>\w[\w.-]{0,127}))?(?:@(?<digest>[A-Za-z][A-Za-z0-9+._-]*:[0-9a-fA-F]{32,}))?$`,
);
const MAX_LENGTH = 512;

/** Where an image is from that names no registry (Kubernetes documentation, "Images"). */
const DEFAULT_REGISTRY = 'docker.io';

/** The reference in a field `image`: a text of a container's, or the object around it that a volume has. */
export function referenceIn(image: unknown): string | undefined {
  return typeof image === 'string' ? image : textAt(image, 'reference');
}

/** @returns undefined for what is no image reference; no runtime would pull it */
export function parseImage(text: string): ImageReference | undefined {
  const parsed = parse(text);
  if (!parsed) return undefined;
  const [registry = '', ...path] = parsed.repository.split('/');
  const isOfficial = registry === DEFAULT_REGISTRY && path.length === 1;
  return isOfficial ? { ...parsed, repository: [registry, 'library', ...path].join('/') } : parsed;
}

/** An entry of `allow.images`: a registry, or a reference that stands for itself and, without tag and digest, all below. */
type Entry =
  | { readonly registry: string }
  | { readonly reference: ImageReference; readonly itself: boolean; readonly below: boolean };

/** @returns undefined for what can take no image */
export function parseImageEntry(entry: string): Entry | undefined {
  const text = entry.replace(/\/$/, '');
  if (isRegistry(text)) return { registry: text.toLowerCase() };
  // As one reads it: `docker.io/shop` is all that shop has there, and `nginx` the official image.
  const reference = entry.includes('/') ? parse(text) : parseImage(text);
  if (!reference) return undefined;
  const isExact = reference.tag !== undefined || reference.digest !== undefined;
  return { reference, itself: text === entry, below: !isExact };
}

/** Whether the entry takes the image. */
export function takesImage(entry: Entry, image: ImageReference): boolean {
  if ('registry' in entry) return image.repository.startsWith(`${entry.registry}/`);
  const { repository, tag, digest } = entry.reference;
  if (entry.below && image.repository.startsWith(`${repository}/`)) return true;
  if (!entry.itself || image.repository !== repository) return false;
  if (digest !== undefined) return image.digest === digest;
  // An image with a digest may be any build of the repository, whatever tag stands beside it.
  return tag === undefined || (image.digest === undefined && (image.tag ?? 'latest') === tag);
}

function parse(text: string): ImageReference | undefined {
  const groups = text.length <= MAX_LENGTH ? REFERENCE.exec(text)?.groups : undefined;
  if (!groups?.['name']) return undefined;
  const { name, tag, digest } = groups;
  return { repository: withRegistry(name), ...(tag && { tag }), ...(digest && { digest }) };
}

function withRegistry(name: string): string {
  const [first = '', ...rest] = name.split('/');
  if (rest.length === 0 || !namesRegistry(first)) return `${DEFAULT_REGISTRY}/${name}`;
  const registry = first.toLowerCase();
  return [registry === 'index.docker.io' ? DEFAULT_REGISTRY : registry, ...rest].join('/');
}

/** The first part of a name is a host where it could not be a part of a path: by dot, port, capitals, or `localhost`. */
function namesRegistry(first: string): boolean {
  return /[.:A-Z]/.test(first) || first === 'localhost';
}

const ONLY_HOST = new RegExp(`^${HOST}$`);

function isRegistry(entry: string): boolean {
  return ONLY_HOST.test(entry) && (/[.]|:[0-9]/.test(entry) || entry === 'localhost');
}
