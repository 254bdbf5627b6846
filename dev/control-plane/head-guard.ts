import { checkHead, parseHeadKeys } from '../../client/audit-keys.ts';
import type { HeadKeys } from '../../client/audit-keys.ts';
import type { SignedHead } from '../../domain/audit-head.ts';
import { HeadWatch } from '../../domain/head-watch.ts';
import type { Alarm, Store } from './store.ts';

/** Beats bring the head of every writer, also of one that has ended: a chain that they leave out has been hidden. */
const SILENT_AFTER_MS = 5 * 60_000;

/** Holds the heads of each cluster against those that it showed before, across restarts of this server. */
export class HeadGuard {
  readonly #store: Store;
  readonly #watches = new Map<string, HeadWatch>();

  constructor(store: Store) {
    this.#store = store;
  }

  /** Takes in the heads of one beat; what is wrong with them is kept as alarms. */
  take(cluster: string, heads: readonly SignedHead[], auditKeys: readonly string[], now: number): void {
    const keys = keysOf(auditKeys);
    const watch = this.#watchOf(cluster);
    const alarms = heads.map((signed) => {
      const { chain, seq, hash } = signed.head;
      const found = `entry ${seq} with ${hash}`;
      if (!chain.startsWith(`${cluster}.`))
        return { kind: 'foreign', chain, expected: `a chain of ${cluster}`, found } as const;
      const verdict = checkHead(signed, keys);
      if (verdict !== 'good')
        return { kind: 'forged', chain, expected: 'a signature by a registered key', found } as const;
      const alarm = watch.observe(signed.head, now);
      if (!alarm) this.#store.saveHead(cluster, signed, now);
      return alarm;
    });
    for (const alarm of [...alarms, ...watch.silent(now, SILENT_AFTER_MS)]) {
      if (alarm) this.#store.alarm(cluster, alarm satisfies Alarm, now);
    }
  }

  #watchOf(cluster: string): HeadWatch {
    const known = this.#watches.get(cluster);
    if (known) return known;
    const watch = new HeadWatch();
    for (const { signed, seenAt } of this.#store.heads(cluster)) watch.observe(signed.head, seenAt);
    this.#watches.set(cluster, watch);
    return watch;
  }
}

/** Keys that cannot be read sign nothing. */
function keysOf(pems: readonly string[]): HeadKeys {
  try {
    return parseHeadKeys(pems.join('\n'), 'the registration');
  } catch {
    return new Map();
  }
}
