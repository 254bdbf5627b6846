import type { PolicyDecision } from './decision.ts';
import { parseImage, parseImageEntry, takesImage } from './image-reference.ts';
import type { Policy } from './schema.ts';

/** How much of an image's name is told: it may be as long as the package. */
const MAX_SHOWN = 256;

/**
 * Judges the images of objects. Those are the objects as they would become and not as the package has them, because a
 * patch can put an image together in ways that only its result shows.
 */
export function judgeImages({ allow: { images } }: Policy, objects: readonly unknown[]): PolicyDecision[] {
  if (!images) return [];
  const entries = images.map(parseImageEntry);
  const found = new Set(objects.flatMap(imagesIn));
  return [...found].map((image) => {
    const shown = image.slice(0, MAX_SHOWN);
    const rule = { rule: 'allow.images', subject: `image ${shown}` };
    const parsed = parseImage(image);
    const index = parsed ? entries.findIndex((entry) => entry && takesImage(entry, parsed)) : -1;
    return index >= 0
      ? { ...rule, place: `/allow/images/${index}`, decision: 'allow', why: `the image ${shown} is allowed` }
      : { ...rule, place: '/allow/images', decision: 'deny', why: `the image ${shown} is from no allowed registry` };
  });
}

/** Kinds whose keys are the user's own words. */
const PLAIN_DATA = new Set(['ConfigMap', 'Secret']);

/** Every image in an object: of containers in any kind of workload, custom ones included, and of image volumes. */
function imagesIn(object: unknown): string[] {
  const found: string[] = [];
  const visit = (value: unknown): void => {
    if (Array.isArray(value)) return value.forEach(visit);
    if (typeof value !== 'object' || value === null) return;
    for (const [key, inner] of Object.entries(value)) {
      const image: unknown =
        key === 'image' && typeof inner === 'object' && inner !== null && 'reference' in inner
          ? inner.reference
          : inner;
      if (key === 'image' && typeof image === 'string') found.push(image);
      else visit(inner);
    }
  };
  const kind = typeof object === 'object' && object !== null && 'kind' in object ? object.kind : undefined;
  if (!PLAIN_DATA.has(String(kind))) visit(object);
  return found;
}
