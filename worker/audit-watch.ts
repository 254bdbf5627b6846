import { randomUUID } from 'node:crypto';
import type { SourceOf, TrustedKey } from '../activities/sigstore/keys.ts';
import type { Vault } from '../activities/vault/vault.ts';
import type { AuditEvent } from '../domain/audit.ts';
import type { AuditEventType, DetailOf } from '../domain/audit-catalogue.ts';

/**
 * Records what the connector itself stands on while it works: which keys, and each reading of secrets. All of it is in
 * the log before it has an effect: where the log cannot be written there is no key, so nothing runs.
 */

/** Records something that the connector itself did or saw. */
export type Record = <T extends AuditEventType>(
  type: T,
  detail: DetailOf<T>,
  more?: Partial<Pick<AuditEvent, 'eventId' | 'outcome'>>,
) => Promise<void>;

/**
 * Records each key that is trusted, revoked or gone since the last look.
 * @param use what the keys sign
 */
export function watchKeys<Key extends TrustedKey>(
  source: SourceOf<Key>,
  use: DetailOf<'key.loaded'>['use'],
  record: Record,
): SourceOf<Key> {
  let last: readonly Key[] | undefined;
  let known = new Map<string, Key>();
  return {
    async load(options) {
      const keys = await source.load(options);
      if (keys === last) return keys;
      const now = new Map(keys.map((key) => [`${key.name} ${key.fingerprint}`, key]));
      for (const [id, key] of now) {
        const before = known.get(id);
        if (!before) await record('key.loaded', describeKey(key, use));
        if (key.revokedAt && !before?.revokedAt) {
          await record('key.revoked', { ...describeKey(key, use), revokedAt: timeOf(key.revokedAt) });
        }
      }
      for (const [id, key] of known) if (!now.has(id)) await record('key.removed', describeKey(key, use));
      [known, last] = [now, keys];
      return keys;
    },
  };
}

function describeKey(
  { name, fingerprint, notBefore, notAfter }: TrustedKey,
  use: DetailOf<'key.loaded'>['use'],
): DetailOf<'key.loaded'> {
  return {
    use,
    name,
    fingerprint,
    ...(notBefore && { notBefore: timeOf(notBefore) }),
    ...(notAfter && { notAfter: timeOf(notAfter) }),
  };
}

/** Also of a date that is none. */
function timeOf(date: Date): string {
  return Number.isNaN(date.getTime()) ? 'invalid' : date.toISOString();
}

/** Records each reading of Vault's secrets before it happens; readings of one moment share an entry. */
export function watchVault<V extends Pick<Vault, 'readSecret' | 'listSecrets'>>(vault: V, record: Record): V {
  let waiting: { readonly paths: string[]; readonly recorded: Promise<void> } | undefined;
  const reads = (path: string) => {
    if (!waiting) {
      const paths: string[] = [];
      const recorded = Promise.resolve().then(() => {
        waiting = undefined;
        return record('secret.read', { store: 'vault', paths });
      });
      waiting = { paths, recorded };
    }
    waiting.paths.push(path);
    return waiting.recorded;
  };
  return {
    ...vault,
    async readSecret(mount, path) {
      await reads(`${mount}/${path}`);
      return vault.readSecret(mount, path);
    },
    async listSecrets(mount, path) {
      await reads(`${mount}/${path}/`);
      return vault.listSecrets(mount, path);
    },
  };
}

/** An id for what happens once and is never tried again. */
export function onceId(type: AuditEventType): string {
  return `${type}/${randomUUID()}`;
}
