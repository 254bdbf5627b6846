/** The encoding's name is that of Temporal's samples: the UI and other tools know by it what they look at. */
export const ENCRYPTED_ENCODING = 'binary/encrypted';

/** The folder below the cluster's in Vault in which the keys are, one secret a key. */
export const PAYLOAD_KEYS_FOLDER = 'payload-keys';

/** AES-256. */
export const PAYLOAD_KEY_BYTES = 32;

/** A key that payloads in Temporal are encrypted with, as Vault has it. */
export interface PayloadKey {
  /** Of the entry in Vault; with the cluster's id before it, it is the key's id in payloads. */
  readonly name: string;
  readonly secret: Uint8Array;
  /** From when on it encrypts; until then, and after the next one has taken over, it only decrypts. */
  readonly writeFrom?: Date;
}

/** Names are parts of paths in Vault and of key ids. */
export const PAYLOAD_KEY_NAME = /^[A-Za-z0-9][-\w.]{0,63}$/;

/** Id of a key in the metadata of payloads: clusters that share a Temporal namespace have keys of their own. */
export function payloadKeyIdOf(clusterId: string, name: string): string {
  return `${clusterId}/${name}`;
}

/** The one key that encrypts at a time: that with the newest `writeFrom`, and of several the last by name. */
export function keyThatWrites<Key extends Pick<PayloadKey, 'name' | 'writeFrom'>>(
  keys: readonly Key[],
  now: Date,
): Key | undefined {
  const since = ({ writeFrom }: Key) => writeFrom?.getTime() ?? -Infinity;
  return keys
    .filter((key) => since(key) <= now.getTime())
    .sort((a, b) => since(a) - since(b) || (a.name < b.name ? -1 : 1))
    .at(-1);
}
