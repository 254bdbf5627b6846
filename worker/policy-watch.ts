import { watch } from 'node:fs';
import type { FSWatcher } from 'node:fs';
import { dirname } from 'node:path';
import type { PolicySource } from '../activities/policy/load-policy.ts';
import type { Digest } from '../domain/digest.ts';
import { ConnectorError } from '../domain/errors.ts';

/**
 * Notices what becomes of the policy file. Nothing depends on it being noticed: each decision reads the file itself
 * (load-policy.ts). This is for those who want to know: the log, the audit and packages that wait for approval.
 */

export interface PolicyNews {
  /** A policy that is good: the first one, another one, or one that was repaired. */
  onChanged(digest: Digest): Promise<void>;
  /** A policy that cannot be used; called once for each distinct reason. */
  onBroken(error: ConnectorError): Promise<void>;
}

export interface PolicyWatchOptions {
  /** The policy file; the built-in policy, which never changes, where there is none. */
  readonly path: string | undefined;
  readonly load: PolicySource;
  /** What it rejects is told again at the next look. */
  readonly news: PolicyNews;
  /** How often it looks where the file system says nothing, ms. */
  readonly pollMs?: number;
  /** How long a file must stay as it is before it is told, ms: a file that is being written looks broken. */
  readonly settleMs?: number;
}

export interface PolicyWatch {
  /** Resolves when nothing is under way any more. */
  close(): Promise<void>;
}

/** Tells the policy as it is, then watches. */
export async function watchPolicy(options: PolicyWatchOptions): Promise<PolicyWatch> {
  const { path, load, news, pollMs = 10_000, settleMs = 200 } = options;
  let told: string | undefined;
  let seen: string | undefined;
  let settling: NodeJS.Timeout | undefined;
  let looking: Promise<void> = Promise.resolve();

  async function look(isFirst: boolean): Promise<void> {
    const { key, tell } = await stateOf(load, news);
    const isSettled = isFirst || key === seen;
    seen = key;
    if (key === told) return;
    if (!isSettled) return lookSoon();
    await tell();
    told = key;
  }
  /** One look at a time. What could not be told is told by a later one; the news report their own trouble. */
  const lookAgain = (isFirst = false) => (looking = looking.then(() => look(isFirst)).catch(() => undefined));
  // Not put off by the next event: where the folder holds a log, there is always one.
  const lookSoon = () => {
    settling ??= setTimeout(() => {
      settling = undefined;
      void lookAgain();
    }, settleMs);
  };

  await lookAgain(true);
  const polling = setInterval(() => void lookAgain(), pollMs);
  const watcher = path === undefined ? undefined : watchFolder(dirname(path), lookSoon);
  return {
    async close() {
      watcher?.close();
      clearInterval(polling);
      clearTimeout(settling);
      await looking;
      clearTimeout(settling); // the last look may have asked for another
    },
  };
}

/** What there is to tell, and what tells it apart from what was told before. */
async function stateOf(
  load: PolicySource,
  news: PolicyNews,
): Promise<{ readonly key: string; readonly tell: () => Promise<void> }> {
  try {
    const { digest } = await load();
    return { key: digest, tell: () => news.onChanged(digest) };
  } catch (cause) {
    const error = cause instanceof ConnectorError ? cause : new ConnectorError('POLICY_INVALID', '', { cause });
    return { key: error.message, tell: () => news.onBroken(error) };
  }
}

/**
 * The folder rather than the file: editors put another file in its place, and a ConfigMap that is mounted changes by a
 * link beside it (`..data`). Where it cannot be watched, looking now and then has to do.
 */
function watchFolder(folder: string, onEvent: () => void): FSWatcher | undefined {
  try {
    const watcher = watch(folder, { persistent: false }, onEvent);
    watcher.on('error', () => watcher.close());
    return watcher;
  } catch {
    return undefined;
  }
}
