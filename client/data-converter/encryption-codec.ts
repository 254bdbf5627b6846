import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import type { Payload, PayloadCodec, SerializationContext } from '@temporalio/common';
import { defaultPayloadConverter } from '@temporalio/common';
import protos from '@temporalio/proto';
import { malformed } from '../../domain/malformed.ts';
import { scheduleIdOf } from '../../domain/names.ts';
import { ENCRYPTED_ENCODING, PAYLOAD_KEY_NAME, payloadKeyIdOf } from '../../domain/payload-key.ts';
import type { HeldKey, KeyRing } from './key-ring.ts';

const CIPHER = 'aes-256-gcm';
/** Random for each payload. A key is good for 2^32 of them (NIST SP 800-38D, section 8.3). */
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** Payloads of which it is remembered that there is no key, and for how long: somebody may put a key back. */
const MAX_KEYLESS = 10_000;
const KEYLESS_MS = 10 * 60_000;

/** The name is that of Temporal's samples. */
const KEY_ID = 'encryption-key-id';

const PayloadMessage = protos.temporal.api.common.v1.Payload;

export interface EncryptionScope {
  /** Whose keys they are. */
  readonly clusterId: string;
  /** The Temporal namespace that the payloads are in. */
  readonly namespace: string;
}

/**
 * Encrypts each payload as a whole, its metadata included. What comes in and is not encrypted is passed on as it is:
 * packages, votes and stops come from those who have no key.
 *
 * The associated data binds format, key, cluster and namespace. Not the workflow: one payload goes through several (a
 * failure from an activity to its workflow and on to who waits for it), and the codec server is not told which it looks at.
 */
export class EncryptionCodec implements PayloadCodec {
  readonly #keys: KeyRing;
  readonly #scope: EncryptionScope;
  /** Vault need not be asked once more for what was made before it was asked: the keys of made-up payloads, in each replay. */
  readonly #keyless = new Map<string, number>();

  constructor(keys: KeyRing, scope: EncryptionScope) {
    this.#keys = keys;
    this.#scope = scope;
  }

  /** @throws {ConnectorError} PAYLOAD_KEYS_UNAVAILABLE: nothing goes out in clear because there is no key */
  async encode(payloads: Payload[], context?: SerializationContext): Promise<Payload[]> {
    if (payloads.length === 0 || this.#isHousekeeping(context)) return payloads;
    const key = await this.#keys.writing();
    return payloads.map((payload) => this.#seal(payload, key));
  }

  /**
   * What cannot be decrypted becomes a `Malformed`, as Vault's word that there is no such key does.
   * @throws {ConnectorError} PAYLOAD_KEYS_UNAVAILABLE where nobody can tell: the same payload must not be one thing now
   *   and, in a replay, another
   */
  async decode(payloads: Payload[], context?: SerializationContext): Promise<Payload[]> {
    const isHousekeeping = this.#isHousekeeping(context);
    const open = (payload: Payload) =>
      isHousekeeping ? undecodable('nothing is encrypted here') : this.#open(payload);
    return Promise.all(payloads.map((payload) => (isEncrypted(payload) ? open(payload) : payload)));
  }

  /**
   * The connector's own runs go through processes that have no key: heartbeats, uploads, alerts on their way to the control
   * plane. Nothing in them is encrypted, so nothing is decrypted there either: under such an id anybody could have what is
   * decrypted said again in clear.
   */
  #isHousekeeping(context: SerializationContext | undefined): boolean {
    return context?.workflowId?.startsWith(scheduleIdOf(this.#scope.clusterId, '')) === true;
  }

  #seal(payload: Payload, { name, secret }: HeldKey): Payload {
    const keyId = payloadKeyIdOf(this.#scope.clusterId, name);
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv(CIPHER, secret, nonce, { authTagLength: TAG_BYTES });
    cipher.setAAD(this.#associated(keyId));
    const sealed = [cipher.update(PayloadMessage.encode(payload).finish()), cipher.final(), cipher.getAuthTag()];
    return {
      metadata: { encoding: Buffer.from(ENCRYPTED_ENCODING), [KEY_ID]: Buffer.from(keyId) },
      data: Buffer.concat([nonce, ...sealed]),
    };
  }

  async #open({ metadata, data }: Payload): Promise<Payload> {
    const name = this.#nameIn(metadata?.[KEY_ID]);
    if (name === undefined) return undecodable('it names no key of this cluster');
    const bytes = Buffer.from(data ?? []);
    const id = `${name} ${bytes.toString('base64', 0, NONCE_BYTES)} ${bytes.subarray(-TAG_BYTES).toString('base64')}`;
    const key = this.#isKeyless(id) ? undefined : await this.#keys.find(name);
    if (!key) {
      this.#rememberKeyless(id);
      return undecodable('there is no such key');
    }
    try {
      const end = bytes.length - TAG_BYTES;
      const decipher = createDecipheriv(CIPHER, key.secret, bytes.subarray(0, NONCE_BYTES), {
        authTagLength: TAG_BYTES,
      });
      decipher.setAAD(this.#associated(payloadKeyIdOf(this.#scope.clusterId, name)));
      decipher.setAuthTag(bytes.subarray(Math.max(end, 0)));
      const message = Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES, end)), decipher.final()]);
      return PayloadMessage.decode(message);
    } catch {
      // One reason for all: whoever sends made-up payloads learns nothing from what becomes of them.
      return undecodable('it was made with another key, or for elsewhere, or was changed');
    }
  }

  #isKeyless(id: string): boolean {
    return performance.now() - (this.#keyless.get(id) ?? -Infinity) < KEYLESS_MS;
  }

  #rememberKeyless(id: string): void {
    if (this.#isKeyless(id)) return;
    this.#keyless.delete(id);
    this.#keyless.set(id, performance.now());
    const [oldest] = this.#keyless.keys();
    if (this.#keyless.size > MAX_KEYLESS && oldest !== undefined) this.#keyless.delete(oldest);
  }

  /** Keys of other clusters are nobody's business here, and Vault is not asked for them. */
  #nameIn(keyId: Uint8Array | null | undefined): string | undefined {
    const prefix = payloadKeyIdOf(this.#scope.clusterId, '');
    const id = Buffer.from(keyId ?? []).toString();
    const name = id.slice(prefix.length);
    return id.startsWith(prefix) && PAYLOAD_KEY_NAME.test(name) ? name : undefined;
  }

  #associated(keyId: string): Buffer {
    const { clusterId, namespace } = this.#scope;
    return Buffer.from(JSON.stringify(['byoc payload v1', ENCRYPTED_ENCODING, CIPHER, keyId, clusterId, namespace]));
  }
}

export function isEncrypted({ metadata }: Payload): boolean {
  const encoding = metadata?.['encoding'];
  return encoding !== undefined && Buffer.from(encoding).toString() === ENCRYPTED_ENCODING;
}

function undecodable(why: string): Payload {
  return defaultPayloadConverter.toPayload(malformed(`encrypted data: ${why}`));
}
