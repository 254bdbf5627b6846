import type { webcrypto } from 'node:crypto';
import type { JWTPayload } from 'jose';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';

const ALGORITHM = 'ES256';

/** Whoever issues the control plane's tokens. */
export class TokenIssuer {
  readonly issuer = 'https://control-plane.example.com';
  #keys: { readonly id: string; readonly privateKey: webcrypto.CryptoKey; readonly publicKey: webcrypto.CryptoKey }[] =
    [];

  /** One with a first key. */
  static async create(): Promise<TokenIssuer> {
    const issuer = new TokenIssuer();
    await issuer.addKey();
    return issuer;
  }

  /** Signs with another key from now on. */
  async addKey(): Promise<void> {
    const id = `key-${this.#keys.length + 1}`;
    this.#keys.push({ id, ...(await generateKeyPair(ALGORITHM)) });
  }

  /** What it publishes. */
  async jwks(): Promise<string> {
    const keys = this.#keys.map(async ({ id, publicKey }) => ({
      ...(await exportJWK(publicKey)),
      kid: id,
      alg: ALGORITHM,
      use: 'sig',
    }));
    return JSON.stringify({ keys: await Promise.all(keys) });
  }

  /** A good token for an audience, but for what is given; undefined takes a claim away. */
  async token(
    audience: string,
    claims: { readonly [Name in keyof JWTPayload]?: JWTPayload[Name] | undefined } = {},
  ): Promise<string> {
    const key = this.#keys.at(-1);
    if (!key) throw new Error('the issuer has no key');
    const now = Math.floor(Date.now() / 1000);
    const good: JWTPayload = { iss: this.issuer, aud: audience, sub: 'control-plane', iat: now, exp: now + 300 };
    return new SignJWT({ ...good, ...claims } as JWTPayload)
      .setProtectedHeader({ alg: ALGORITHM, kid: key.id })
      .sign(key.privateKey);
  }
}
