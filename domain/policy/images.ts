import type { PolicyDecision } from './decision.ts';
import { parseImage, parseImageEntry, referenceIn, takesImage } from '../image-reference.ts';
import { at, entriesAt, textAt } from '../json-values.ts';
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

/** Kinds whose keys are the user's own words; of the core group only, for a custom kind may be called the same. */
const PLAIN_DATA = new Set(['ConfigMap', 'Secret']);

/**
 * Every image in an object: of containers in any kind of workload, custom ones included, and of image volumes. What
 * names one is looked into all the same: in a custom kind anything may be in there.
 */
function imagesIn(object: unknown): string[] {
  if (at(object, 'apiVersion') === 'v1' && PLAIN_DATA.has(textAt(object, 'kind') ?? '')) return [];
  const found: string[] = [];
  const values: unknown[] = [object];
  for (let value = values.pop(); value !== undefined; value = values.pop()) {
    const image = referenceIn(at(value, 'image'));
    if (image !== undefined) found.push(image);
    const inner = Array.isArray(value) ? [...(value as unknown[])] : entriesAt(value).map(([, one]) => one);
    // The last comes off the stack first.
    values.push(...inner.filter((one) => typeof one === 'object' && one !== null).reverse());
  }
  return found;
}
