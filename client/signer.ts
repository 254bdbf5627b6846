import { readFile } from 'node:fs/promises';
import { ConnectorError } from '../domain/errors.ts';
import { askPassword } from './signer/ask-password.ts';
import { decryptCosignKey, isCosignKey } from './signer/cosign-key.ts';
import { localSigner, readPrivateKey } from './signer/local-key.ts';
import { openTransitKey } from './signer/vault-transit.ts';

/** Something that signs with one private key, wherever that key is. */
export interface Signer {
  /** SPKI. */
  readonly publicKeyPem: string;
  /** Base64 of the SHA-256 over the public key's SPKI in DER: the key hint of bundles. */
  readonly fingerprint: string;
  /** Signs bytes with the digest that belongs to the key. @returns an ECDSA signature in DER */
  sign(bytes: Uint8Array): Promise<Uint8Array>;
}

/** The environment, of which `COSIGN_PASSWORD`, `VAULT_ADDR`, `VAULT_TOKEN`, … are read, as cosign reads them. */
export type SignerEnv = Readonly<Record<string, string | undefined>>;

const TRANSIT = 'hashivault://';

/**
 * Opens what signs.
 * @param ref path of a private key in PEM (PKCS #8 or SEC 1, ECDSA on P-256 or P-384), or of one that cosign encrypted
 *   (its password is COSIGN_PASSWORD, or asked for on a terminal); or `hashivault://NAME` for a key in the transit
 *   engine of the Vault at VAULT_ADDR, which TRANSIT_SECRET_ENGINE_PATH names where it is not `transit`
 * @throws {ConnectorError} FILE_UNREADABLE, KEY_UNSUPPORTED, CONFIG_INVALID (a public key, one that Vault has not, no password, a wrong one, no address),
 *   VAULT_UNAVAILABLE. None holds anything of a private key or a password.
 */
export async function openSigner(ref: string, env: SignerEnv): Promise<Signer> {
  if (ref.startsWith(TRANSIT)) return openTransitKey(ref.slice(TRANSIT.length), env);
  const pem = await readKeyFile(ref);
  if (isPublic(pem))
    throw new ConnectorError('CONFIG_INVALID', `${ref} is a public key; what signs is the private one.`);
  if (!isCosignKey(pem)) return localSigner(readPrivateKey(pem));
  const password = env['COSIGN_PASSWORD'] ?? (await askPassword(`Password of ${ref}: `));
  return localSigner(await decryptCosignKey(pem, password));
}

function isPublic(pem: string): boolean {
  return /-----BEGIN (RSA |EC )?PUBLIC KEY-----/.test(pem) && !/PRIVATE KEY-----/.test(pem);
}

async function readKeyFile(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new ConnectorError('FILE_UNREADABLE', `The key ${path} cannot be read.`, { cause });
  }
}
