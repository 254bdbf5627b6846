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
  String.raw`^(?<name>(?:${HOST}/)?${SEGMENT}(?:/${SEGMENT})*)(?::(?<tag>\w[\w.-]{0,127}))?(?:@(?<digest>[A-Za-z][A-Za-z0-9+._-]*:[0-9a-fA-F]+))?$`,
);
const MAX_LENGTH = 512;

/** Where an image is from that names no registry (Kubernetes documentation, "Images"). */
const DEFAULT_REGISTRY = 'docker.io';

/** @returns undefined for what is no image reference; no runtime would pull it */
export function parseImage(text: string): ImageReference | undefined {
  const parsed = parse(text);
  if (!parsed) return undefined;
  const [registry = '', ...path] = parsed.repository.split('/');
  const isOfficial = registry === DEFAULT_REGISTRY && path.length === 1;
  return isOfficial ? { ...parsed, repository: [registry, 'library', ...path].join('/') } : parsed;
}

/**
 * Whether an entry of `allow.images` takes an image. A registry or repository takes what is at or below it, one with a
 * slash at its end only what is below, one with a tag or digest exactly that.
 */
export function takesImage(entry: string, image: ImageReference): boolean {
  const text = entry.endsWith('/') ? entry.slice(0, -1) : entry;
  if (isRegistry(text)) return image.repository.startsWith(`${text.toLowerCase()}/`);
  // As one reads it: `docker.io/shop` is all that shop has there, `nginx` is the official image.
  const wanted = entry.includes('/') ? parse(entry.endsWith('/') ? `${text}` : text) : parseImage(text);
  if (!wanted) return false;
  if (wanted.digest !== undefined) {
    return image.repository === wanted.repository && image.digest === wanted.digest;
  }
  if (wanted.tag !== undefined) {
    const tag = image.digest === undefined ? (image.tag ?? 'latest') : undefined;
    return image.repository === wanted.repository && tag === wanted.tag;
  }
  const isAt = !entry.endsWith('/') && image.repository === wanted.repository;
  return isAt || image.repository.startsWith(`${wanted.repository}/`);
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
