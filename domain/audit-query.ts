import type { AuditEntry } from './audit.ts';

/** Which entries somebody wants to see; all of what is set must hold. */
export interface AuditQuery {
  readonly wpk?: string | undefined;
  readonly actor?: string | undefined;
  readonly outcome?: string | undefined;
  /** A type, or the part of it before the dot. */
  readonly type?: string | undefined;
  /** RFC 3339 in UTC with milliseconds, as entries have it; from, included, and until, excluded. */
  readonly since?: string | undefined;
  readonly until?: string | undefined;
}

export function matches(entry: AuditEntry, query: AuditQuery): boolean {
  const { wpk, actor, outcome, type, since, until } = query;
  return (
    (wpk === undefined || entry.wpk === wpk) &&
    (actor === undefined || entry.actor.id === actor) &&
    (outcome === undefined || entry.outcome === outcome) &&
    (type === undefined || entry.type === type || entry.type.startsWith(`${type}.`)) &&
    (since === undefined || entry.time >= since) &&
    (until === undefined || entry.time < until)
  );
}
