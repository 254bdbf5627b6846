import { writeFile } from 'node:fs/promises';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import type { Identity } from '../../activities/vault/identity.ts';
import { createIdentity } from '../../activities/vault/identity.ts';
import { CLUSTER_CLAIM } from '../../domain/control-plane.ts';

/** Who issues the tokens of a simulation. */
export const SIMULATED_ISSUER = 'urn:neuralops:byoc:simulation';

const TTL_MS = 600_000;
const KEY_ID = 'simulated';

/**
 * Issues JWTs with a key of this process alone, in the form that Vault's have.
 * @param keysFile where its public half is written as a JWKS (RFC 7517), for a control plane of the same simulation
 */
export async function openLocalIdentity(clusterId: string, keysFile: string): Promise<(audience: string) => Identity> {
  const { privateKey, publicKey } = await generateKeyPair('ES256');
  const keys = [{ ...(await exportJWK(publicKey)), kid: KEY_ID, alg: 'ES256', use: 'sig' }];
  await writeFile(keysFile, JSON.stringify({ keys }));
  return (audience) =>
    createIdentity({
      issue: async () => ({ token: await sign(audience), ttlMs: TTL_MS }),
      now: () => performance.now(),
      random: Math.random,
    });

  function sign(audience: string): Promise<string> {
    return new SignJWT({ [CLUSTER_CLAIM]: clusterId, simulated: true })
      .setProtectedHeader({ alg: 'ES256', kid: KEY_ID })
      .setIssuer(SIMULATED_ISSUER)
      .setSubject(clusterId)
      .setAudience(audience)
      .setIssuedAt()
      .setExpirationTime(new Date(Date.now() + TTL_MS))
      .sign(privateKey);
  }
}
