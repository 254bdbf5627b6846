import { createHash, createPublicKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { ConnectorError } from '../../domain/errors.ts';
import { digestOfCurve } from '../../domain/signature-digest.ts';
import { refuseDevelopmentKeys } from './development-keys.ts';

/** A public key whose signatures count, within its validity and unless it was revoked. */
export interface TrustedKey {
  /** What people call it: the entry in Vault, or where it was read from. */
  readonly name: string;
  readonly publicKey: KeyObject;
  /** Base64 of the SHA-256 over the SPKI in DER, which is also the key hint that cosign writes into bundles. */
  readonly fingerprint: string;
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  /** Whenever it is set, also in the future, the key counts as revoked; a planned end is `notAfter`. */
  readonly revokedAt?: Date;
}

export interface LoadOptions {
  /**
   * Asks now instead of going by what was read a moment ago, so that a revocation is seen at once. Where nobody
   * answers, what was read serves up to its age.
   */
  readonly fresh?: boolean;
}

/** Where trusted keys come from. `load` throws KEYS_UNAVAILABLE rather than returning less than there is. */
export type KeySource = SourceOf<TrustedKey>;

/** A source of keys of one kind. */
export interface SourceOf<Key extends TrustedKey> {
  load(options?: LoadOptions): Promise<readonly Key[]>;
}

/** How long keys that were read are used; also how long they serve when their source is away. */
export const KEY_CACHE_MS = 30_000;

const PEM_BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----[A-Za-z0-9+/=\s]+-----END \1-----/g;

/**
 * Reads the public keys of a PEM text, which may hold several.
 * @param text blocks of `PUBLIC KEY` (RFC 7468), in any number from one
 * @param name what to call the key; from two on `#2`, `#3`, … is appended
 * @throws {ConnectorError} CONFIG_INVALID where the text is not that; KEY_UNSUPPORTED for a kind that is not accepted
 */
export function parsePublicKeys(text: string, name: string): TrustedKey[] {
  const blocks = [...text.matchAll(PEM_BLOCK)];
  if (blocks.length === 0) throw new ConnectorError('CONFIG_INVALID', `${name} holds no public key in PEM form.`);
  return blocks.map(([pem, label], index) => {
    const keyName = index === 0 ? name : `${name}#${index + 1}`;
    // Node would take the public half of a private key without a word; whoever put one here must learn of it.
    if (label !== 'PUBLIC KEY') {
      throw new ConnectorError('CONFIG_INVALID', `${keyName} is a ${label}; only a PUBLIC KEY belongs here.`);
    }
    const key = normalise(pem, keyName);
    return {
      name: keyName,
      publicKey: key,
      fingerprint: createHash('sha256')
        .update(key.export({ type: 'spki', format: 'der' }))
        .digest('base64'),
    };
  });
}

/** Through its JWK form, which knows named curves and uncompressed points only: no second fingerprint for one key. */
function normalise(pem: string, name: string): KeyObject {
  let key: KeyObject;
  try {
    key = createPublicKey({ key: pem, format: 'pem' });
  } catch (cause) {
    throw new ConnectorError('CONFIG_INVALID', `${name} cannot be read as a public key.`, { cause });
  }
  const curve = key.asymmetricKeyDetails?.namedCurve;
  if (key.asymmetricKeyType !== 'ec' || !digestOfCurve(curve)) {
    const kind = [key.asymmetricKeyType, curve].filter(Boolean).join(' ');
    throw new ConnectorError('KEY_UNSUPPORTED', `${name} is of kind ${kind}; ECDSA on P-256 or P-384 is accepted.`);
  }
  return createPublicKey({ key: key.export({ format: 'jwk' }), format: 'jwk' });
}

/**
 * Keys from the setting `COSIGN_KEY`, for where there is no Vault.
 * @param setting a PEM text, or the path of a file with one; a file is read again each time
 */
export function cosignKeySource(setting: string): KeySource {
  if (setting.includes('-----BEGIN')) {
    const keys = refuseDevelopmentKeys(parsePublicKeys(setting, 'COSIGN_KEY'));
    return { load: () => Promise.resolve(keys) };
  }
  return {
    async load() {
      let text: string;
      try {
        text = await readFile(setting, 'utf8');
      } catch (cause) {
        throw new ConnectorError('KEYS_UNAVAILABLE', 'The file that COSIGN_KEY names cannot be read.', { cause });
      }
      return refuseDevelopmentKeys(parsePublicKeys(text, 'COSIGN_KEY'));
    },
  };
}

/** What was said, and when it was asked for: what changed since then is not in it. */
interface Answer<Key> {
  readonly askedAt: number;
  /** Undefined where what is there is broken. */
  readonly keys: readonly Key[] | undefined;
}

/**
 * Keeps what a source in Vault gave for a while. When that time is over and Vault is gone, the keys are gone too: a key
 * may have been revoked meanwhile. Where Vault answers, and what it says is broken, what was read before is dropped at
 * once: the broken entry may be a revocation.
 * @param maxAgeMs counted from the moment of asking, 0 for no keeping
 * @param now milliseconds of a clock that does not go back
 */
export function cachedKeySource<Key extends TrustedKey>(
  source: SourceOf<Key>,
  { maxAgeMs = KEY_CACHE_MS, now = () => performance.now() }: { maxAgeMs?: number; now?: () => number } = {},
): SourceOf<Key> {
  let last: Answer<Key> | undefined;
  let asking: Promise<readonly Key[]> | undefined;

  const stillGood = () => (last && now() - last.askedAt < maxAgeMs ? last.keys : undefined);

  /** Answers may overtake each other; the one to the later question knows more. */
  function keep(answer: Answer<Key>): void {
    if (!last || last.askedAt <= answer.askedAt) last = answer;
  }

  async function ask(): Promise<readonly Key[]> {
    const askedAt = now();
    try {
      const keys = await source.load();
      keep({ askedAt, keys });
      return keys;
    } catch (error) {
      if (!isAway(error)) keep({ askedAt, keys: undefined });
      throw error;
    }
  }

  /** For callers who take an answer to a question that was under way before they came. */
  function askTogether(): Promise<readonly Key[]> {
    asking ??= ask().finally(() => {
      asking = undefined;
    });
    return asking;
  }

  return {
    async load({ fresh = false } = {}) {
      if (!fresh) return stillGood() ?? askTogether();
      try {
        return await ask();
      } catch (error) {
        const keys = isAway(error) ? stillGood() : undefined;
        if (keys) return keys;
        throw error;
      }
    },
  };
}

/** Whether nobody answered, which says nothing about the keys. */
function isAway(error: unknown): boolean {
  return (
    error instanceof ConnectorError && error.cause instanceof ConnectorError && error.cause.code === 'VAULT_UNAVAILABLE'
  );
}
