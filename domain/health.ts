import type { ErrorCode } from './errors.ts';
import { ERRORS } from './errors.ts';
import type { Role } from './names.ts';

/**
 * How the parts are that the connector stands on, as this process sees them. Whoever uses a part reports on it; `/health`,
 * the metrics and the heartbeat read what was reported, so that asking for health costs nothing and asks nobody.
 */

export type ComponentState = 'ok' | 'degraded' | 'down';

export interface ComponentHealth {
  readonly name: string;
  readonly state: ComponentState;
  /** Since when it is so, RFC 3339. */
  readonly since: string;
  /** Set where something is wrong that has a code. */
  readonly code?: ErrorCode;
  /** What is wrong, for people; a fixed sentence, nothing that came from outside. */
  readonly sentence?: string;
}

/** What is reported of a part: an error code says what is wrong, or a sentence where there is no code for it. */
export type Finding =
  | { readonly state: 'ok' }
  | { readonly state: 'degraded' | 'down'; readonly code: ErrorCode }
  | { readonly state: 'degraded' | 'down'; readonly sentence: string };

/**
 * Every part that is reported on. docs/degraded.md tells operators of each what is lost without it and how it comes back,
 * and a test holds that table and this list together.
 */
export const PARTS = [
  'temporal',
  'kubernetes',
  'applying-account',
  'vault',
  'signing-keys',
  'policy',
  'freeze',
  'audit-log',
  'disk',
  'audit-bucket',
  'certificates',
  'payload-keys',
  'caller-keys',
  'control-plane',
  'prometheus',
  'insight-engine',
  'metrics-spool',
] as const;

export type PartName = (typeof PARTS)[number];

/** What a role cannot do its work without. The rest delays it, or is missed by others. */
export const NEEDED: Readonly<Record<Role, readonly PartName[]>> = {
  registration: ['temporal', 'kubernetes', 'audit-log'],
  metrics: ['temporal', 'audit-log'],
  execution: ['temporal', 'kubernetes', 'signing-keys', 'policy', 'audit-log'],
};

/** `down`: one of the roles cannot do its work, such as take packages in · `degraded`: something does not work as it should. */
export function overallOf(components: readonly ComponentHealth[], roles: readonly Role[]): ComponentState {
  const found = new Map(components.map(({ name, state }) => [name, state]));
  const needed = roles.flatMap((role) => NEEDED[role]);
  // A part that was never looked at is not known to work.
  if (needed.some((name) => (found.get(name) ?? 'down') === 'down')) return 'down';
  return components.some(({ state }) => state !== 'ok') ? 'degraded' : 'ok';
}

/** Remembers the last finding on each part, and since when it is so. */
export class Health {
  readonly #now: () => Date;
  readonly #components = new Map<string, ComponentHealth>();

  constructor(now: () => Date) {
    this.#now = now;
  }

  report(name: PartName, finding: Finding): void {
    const before = this.#components.get(name);
    const since = before?.state === finding.state ? before.since : this.#now().toISOString();
    this.#components.set(name, { name, state: finding.state, since, ...whatIsWrong(finding) });
  }

  /** By name. */
  components(): ComponentHealth[] {
    return [...this.#components.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }
}

function whatIsWrong(finding: Finding): Pick<ComponentHealth, 'code' | 'sentence'> {
  if (finding.state === 'ok') return {};
  return 'code' in finding
    ? { code: finding.code, sentence: ERRORS[finding.code].sentence }
    : { sentence: finding.sentence };
}
