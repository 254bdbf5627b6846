import type { ComponentHealth } from '../domain/control-plane.ts';
import type { DetailOf } from '../domain/audit-catalogue.ts';

export type PartNews =
  | { readonly type: 'part.unhealthy'; readonly detail: DetailOf<'part.unhealthy'> }
  | { readonly type: 'part.recovered'; readonly detail: DetailOf<'part.recovered'> };

/** A part that is slow or away for a moment heals by itself: it is told of when two looks in a row find it so. */
const LOOKS = 2;

/** Parts of which other alerts tell, sooner or more exactly. */
const TOLD_OTHERWISE: ReadonlySet<string> = new Set(['control-plane', 'policy', 'audit-log']);

/** Notices parts that stop working and that work again, look by look. */
export class PartWatch {
  readonly #bad = new Map<string, number>();

  look(components: readonly ComponentHealth[]): PartNews[] {
    const news: PartNews[] = [];
    for (const { name, state, code } of components) {
      if (TOLD_OTHERWISE.has(name)) continue;
      const looks = this.#bad.get(name) ?? 0;
      // What is degraded works, and has its own alert where somebody must act.
      if (state !== 'down') {
        this.#bad.delete(name);
        if (looks >= LOOKS) news.push({ type: 'part.recovered', detail: { part: name } });
      } else {
        this.#bad.set(name, looks + 1);
        if (looks + 1 === LOOKS)
          news.push({ type: 'part.unhealthy', detail: { part: name, state, ...(code && { code }) } });
      }
    }
    return news;
  }
}
