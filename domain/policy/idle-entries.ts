import { parseImageEntry } from '../image-reference.ts';
import type { Policy } from './schema.ts';

/** `Deployment`, `Deployment.apps`. */
const KIND = /^[A-Z][A-Za-z0-9]{0,62}(\.[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?)?$/;

/** Entries of the allow-lists that can take nothing: they open no door, but hardly say what their author meant. */
export function idleEntries({ allow: { kinds = [], images = [] } }: Policy): { place: string; why: string }[] {
  return [
    ...kinds.flatMap((kind, index) => {
      if (KIND.test(kind)) return [];
      return [{ place: `/allow/kinds/${index}`, why: `${kind} is no kind, such as Deployment or Deployment.apps` }];
    }),
    ...images.flatMap((image, index) => {
      if (parseImageEntry(image)) return [];
      return [{ place: `/allow/images/${index}`, why: `${image} is no registry, repository or image` }];
    }),
  ];
}
