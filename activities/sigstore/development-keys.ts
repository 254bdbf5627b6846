import { createECDH, createHash, createPrivateKey, createPublicKey } from 'node:crypto';
import { ConnectorError } from '../../domain/errors.ts';
import type { TrustedKey } from './keys.ts';

/** What the keys of simulation mode sign. */
export type DevelopmentUse = 'packages' | 'votes';

export interface DevelopmentKey {
  /** PKCS #8. */
  readonly privateKeyPem: string;
  readonly publicKeyPem: string;
  readonly fingerprint: string;
}

/**
 * The keys of simulation mode are the same everywhere and no secret: anybody can work them out as it is done here. So they
 * are known for what they are wherever they turn up, and no installation can come to trust one by mistake, however its
 * public half got there.
 */
export function developmentKey(use: DevelopmentUse): DevelopmentKey {
  const ecdh = createECDH('prime256v1');
  ecdh.setPrivateKey(createHash('sha256').update(`neuralops.io/byoc simulation, ${use}, no secret`).digest());
  const point = ecdh.getPublicKey();
  const part = (bytes: Buffer) => bytes.toString('base64url');
  const jwk = { kty: 'EC', crv: 'P-256', x: part(point.subarray(1, 33)), y: part(point.subarray(33)) };
  const publicKey = createPublicKey({ key: jwk, format: 'jwk' });
  const privateKey = createPrivateKey({ key: { ...jwk, d: part(ecdh.getPrivateKey()) }, format: 'jwk' });
  return {
    privateKeyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    publicKeyPem: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    fingerprint: createHash('sha256')
      .update(publicKey.export({ type: 'spki', format: 'der' }))
      .digest('base64'),
  };
}

const KNOWN: ReadonlySet<string> = new Set(
  (['packages', 'votes'] as const).map((use) => developmentKey(use).fingerprint),
);

/** @param fingerprint base64 of the SHA-256 over the SPKI in DER */
export function isDevelopmentKey(fingerprint: string): boolean {
  return KNOWN.has(fingerprint);
}

/** @throws {ConnectorError} CONFIG_INVALID where one is among keys that are to be trusted */
export function refuseDevelopmentKeys<Key extends TrustedKey>(keys: readonly Key[]): readonly Key[] {
  const found = keys.find(({ fingerprint }) => isDevelopmentKey(fingerprint));
  if (!found) return keys;
  const what = 'is a development key of simulation mode, whose private half everybody knows; it counts nowhere else';
  throw new ConnectorError('CONFIG_INVALID', `${found.name} ${what}.`);
}
