import { randomUUID } from 'node:crypto';
import type { PolicySource } from '../activities/policy/load-policy.ts';
import type { KeySource, TrustedKey } from '../activities/sigstore/keys.ts';
import type { Vault } from '../activities/vault/vault.ts';
import type { AuditEvent } from '../domain/audit.ts';
import type { AuditEventType, DetailOf } from '../domain/audit-catalogue.ts';
import type { Digest } from '../domain/digest.ts';
import { ConnectorError } from '../domain/errors.ts';

/**
 * Records what the connector itself stands on while it works: which policy, which keys, and each reading of secrets. All
 * of it is in the log before it has an effect: where the log cannot be written there is no policy and no key, so nothing
 * runs.
 */

/** Records something that the connector itself did or saw. */
export type Record = <T extends AuditEventType>(
  type: T,
  detail: DetailOf<T>,
  more?: Partial<Pick<AuditEvent, 'eventId' | 'outcome'>>,
) => Promise<void>;

/** Records each policy that comes into force, and each time that there is none because the file is broken. */
export function watchPolicy(source: PolicySource, record: Record): PolicySource {
  let last: Digest | undefined;
  let refused = '';
  return async () => {
    try {
      const loaded = await source();
      if (loaded.digest !== last) {
        await record('policy.loaded', { digest: loaded.digest, ...(last && { before: last }) });
      }
      last = loaded.digest;
      refused = '';
      return loaded;
    } catch (error) {
      if (!(error instanceof ConnectorError) || error.code !== 'POLICY_INVALID') throw error;
      const detail = { code: error.code, detail: error.message.slice(0, MAX_TEXT) };
      if (detail.detail !== refused) await record('policy.refused', detail, { outcome: 'refused' });
      refused = detail.detail;
      throw error;
    }
  };
}

const MAX_TEXT = 1_000;

/** Records each key that is trusted, revoked or gone since the last look. */
export function watchKeys(source: KeySource, record: Record): KeySource {
  let last: readonly TrustedKey[] | undefined;
  let known = new Map<string, TrustedKey>();
  return {
    async load() {
      const keys = await source.load();
      if (keys === last) return keys;
      const now = new Map(keys.map((key) => [`${key.name} ${key.fingerprint}`, key]));
      for (const [id, key] of now) {
        const before = known.get(id);
        if (!before) await record('key.loaded', describeKey(key));
        if (key.revokedAt && !before?.revokedAt) {
          await record('key.revoked', { ...describeKey(key), revokedAt: timeOf(key.revokedAt) });
        }
      }
      for (const [id, key] of known) if (!now.has(id)) await record('key.removed', describeKey(key));
      [known, last] = [now, keys];
      return keys;
    },
  };
}

function describeKey({ name, fingerprint, notBefore, notAfter }: TrustedKey): DetailOf<'key.loaded'> {
  return {
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
