import { Refusal } from './refusal.ts';

const WINDOW_MS = 60_000;

/** Counts the requests of each cluster in windows of a minute. */
export class RateLimit {
  readonly #perWindow: number;
  #window = 0;
  #counts = new Map<string, number>();

  constructor(perWindow: number) {
    this.#perWindow = perWindow;
  }

  /** @throws {Refusal} rate-limited, with how long to wait */
  take(clusterId: string, now = Date.now()): void {
    const window = Math.floor(now / WINDOW_MS);
    if (window !== this.#window) this.#counts = new Map();
    this.#window = window;
    const count = (this.#counts.get(clusterId) ?? 0) + 1;
    this.#counts.set(clusterId, count);
    if (count <= this.#perWindow) return;
    const seconds = Math.ceil(((window + 1) * WINDOW_MS - now) / 1000);
    throw new Refusal('rate-limited', `more than ${this.#perWindow} a minute`, { 'retry-after': String(seconds) });
  }
}
