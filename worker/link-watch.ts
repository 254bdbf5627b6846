import type { Answer } from '../domain/control-plane.ts';
import type { DetailOf } from '../domain/audit-catalogue.ts';
import type { ErrorCode } from '../domain/errors.ts';
import { ConnectorError } from '../domain/errors.ts';
import type { Finding } from '../domain/health.ts';

export type LinkNews =
  | { readonly type: 'link.lost'; readonly detail: DetailOf<'link.lost'> }
  | { readonly type: 'link.restored'; readonly detail: DetailOf<'link.restored'> }
  | { readonly type: 'authentication.failed'; readonly detail: DetailOf<'authentication.failed'> };

/**
 * Notices when the control plane is lost and when it is back, as one process of the cluster sees it: each is told once, and
 * not at the first hiccup. That it does not accept who we are is told at once.
 */
export class LinkWatch {
  readonly #lostAfterMs: number;
  #failing: { readonly since: number; code: ErrorCode } | undefined;
  #isLost = false;
  #isDenied = false;

  constructor(lostAfterMs: number) {
    this.#lostAfterMs = lostAfterMs;
  }

  answered(): LinkNews[] {
    const { since } = this.#failing ?? {};
    const wasLost = this.#isLost;
    this.#failing = undefined;
    this.#isLost = this.#isDenied = false;
    return wasLost && since !== undefined ? [{ type: 'link.restored', detail: { lostSince: timeOf(since) } }] : [];
  }

  failed(error: unknown, now: number): LinkNews[] {
    const code = error instanceof ConnectorError ? error.code : 'INTERNAL';
    const news: LinkNews[] = [];
    if (this.#failing) this.#failing.code = code;
    else this.#failing = { since: now, code };
    if (code === 'CONTROL_PLANE_DENIED' && !this.#isDenied) {
      this.#isDenied = true;
      news.push({ type: 'authentication.failed', detail: { at: 'control-plane', code } });
    }
    const { since } = this.#failing;
    if (!this.#isLost && now - since >= this.#lostAfterMs) {
      this.#isLost = true;
      news.push({ type: 'link.lost', detail: { since: timeOf(since), code } });
    }
    return news;
  }

  /** The control plane as a part among others. */
  health(): Finding {
    if (!this.#failing) return { state: 'ok' };
    return { state: this.#isLost ? 'down' : 'degraded', code: this.#failing.code };
  }

  get isLost(): boolean {
    return this.#isLost;
  }
}

/** Whether a version is older than another one, by its numbers; one that has none is not. */
export function isOlderVersion(version: string, than: string): boolean {
  const numbers = (text: string) => /^v?(\d+)\.(\d+)\.(\d+)/.exec(text)?.slice(1).map(Number);
  const [ours, theirs] = [numbers(version), numbers(than)];
  if (!ours || !theirs) return false;
  const at = ours.findIndex((number, index) => number !== theirs[index]);
  return at >= 0 && (ours[at] ?? 0) < (theirs[at] ?? 0);
}

/** What an answer warns people of. */
export function warningIn({ minimumVersion }: Answer, version: string): string | undefined {
  if (minimumVersion === undefined || !isOlderVersion(version, minimumVersion)) return undefined;
  return `The control plane supports connectors from version ${minimumVersion} on; this one is ${version}.`;
}

function timeOf(ms: number): string {
  return new Date(ms).toISOString();
}
