import { readFile } from 'node:fs/promises';
import { createLocalJWKSet, createRemoteJWKSet, customFetch, errors, jwtVerify } from 'jose';
import type { FetchImplementation, JWTPayload, JWTVerifyGetKey } from 'jose';
import { Agent, fetch as fetchThrough } from 'undici';
import { CLUSTER_CLAIM, CONTROL_PLANE_AUDIENCE, INSIGHT_AUDIENCE } from '../../domain/control-plane.ts';
import { SIMULATED_ISSUER } from '../../worker/simulation/local-identity.ts';
import { Refusal } from './refusal.ts';

export interface TokenOptions {
  /** Base address of the Vault whose identity engine issues the tokens; needed but in simulation. */
  readonly vaultAddress?: string | undefined;
  /** File with the keys (JWKS) of a simulation: then its tokens are taken, and no others. */
  readonly simulatedKeys?: string | undefined;
  /** Certificate authorities in PEM that replace the built-in ones. */
  readonly vaultCa?: string | undefined;
  /** How long a key that Vault publishes no longer may still be accepted, ms. */
  readonly keysMaxAgeMs?: number | undefined;
  /** How far a clock may be off, s. */
  readonly clockToleranceSeconds?: number | undefined;
}

/** What a good token says. */
export interface Caller {
  readonly clusterId: string;
  /** The services that the token is for. */
  readonly audiences: readonly string[];
  /** When the token was issued, seconds since the epoch. */
  readonly issuedAt: number;
}

/** Never `none`, and nothing symmetric: a published key must not be usable to sign. */
const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'ES256', 'ES384', 'ES512', 'EdDSA'];
/** A key that is not known is looked for at Vault, but not for each request with a made-up key id. */
const KEYS_COOLDOWN_MS = 1_000;

/**
 * Verifies JWTs against the keys that Vault publishes: signature, issuer, audience, expiry, and that it names a cluster.
 * @see https://developer.hashicorp.com/vault/docs/secrets/identity/identity-token
 */
export function createTokenVerifier(options: TokenOptions) {
  const { vaultAddress, vaultCa, simulatedKeys, keysMaxAgeMs = 30_000, clockToleranceSeconds = 30 } = options;
  const issuer = simulatedKeys === undefined ? `${vaultAddress}/v1/identity/oidc` : SIMULATED_ISSUER;
  const published = (): JWTVerifyGetKey =>
    createRemoteJWKSet(new URL(`${issuer}/.well-known/keys`), {
      cacheMaxAge: keysMaxAgeMs,
      cooldownDuration: KEYS_COOLDOWN_MS,
      timeoutDuration: 3_000,
      ...(vaultCa !== undefined && { [customFetch]: fetchWith(vaultCa) }),
    });
  const keys = simulatedKeys === undefined ? published() : keysInFile(simulatedKeys);

  return async (authorization: string | undefined): Promise<Caller> => {
    const token = /^Bearer ([\w-]+\.[\w-]+\.[\w-]+)$/i.exec(authorization ?? '')?.[1];
    if (token === undefined) throw new Refusal('unauthenticated', 'no bearer token');
    const payload = await verified(() =>
      jwtVerify(token, keys, {
        issuer,
        audience: [CONTROL_PLANE_AUDIENCE, INSIGHT_AUDIENCE],
        algorithms: ALGORITHMS,
        clockTolerance: clockToleranceSeconds,
        requiredClaims: ['exp', 'iat', 'sub'],
      }),
    );
    const clusterId = payload[CLUSTER_CLAIM];
    if (typeof clusterId !== 'string' || clusterId === '') throw new Refusal('unauthenticated', 'it names no cluster');
    return { clusterId, audiences: [payload.aud ?? []].flat(), issuedAt: payload.iat ?? 0 };
  };
}

/** Read each time: a simulation that begins anew has another key. */
function keysInFile(path: string): JWTVerifyGetKey {
  return async (header, token) => createLocalJWKSet(JSON.parse(await readFile(path, 'utf8')))(header, token);
}

function fetchWith(ca: string): FetchImplementation {
  const dispatcher = new Agent({ connect: { ca } });
  return async (url, { method, headers, redirect, signal }) => {
    const answer = await fetchThrough(url, { method, headers: [...headers], redirect, signal, dispatcher });
    return new Response(await answer.text(), { status: answer.status });
  };
}

async function verified(verify: () => Promise<{ readonly payload: JWTPayload }>): Promise<JWTPayload> {
  try {
    return (await verify()).payload;
  } catch (error) {
    // Only what is wrong with the token itself is its bearer's fault.
    const isToken =
      error instanceof errors.JWTExpired ||
      error instanceof errors.JWTClaimValidationFailed ||
      error instanceof errors.JWTInvalid ||
      error instanceof errors.JWSInvalid ||
      error instanceof errors.JWSSignatureVerificationFailed ||
      error instanceof errors.JOSEAlgNotAllowed ||
      error instanceof errors.JOSENotSupported ||
      error instanceof errors.JWKSNoMatchingKey ||
      error instanceof errors.JWKSMultipleMatchingKeys;
    const why = error instanceof Error ? error.message : String(error);
    throw new Refusal(isToken ? 'unauthenticated' : 'unavailable', why);
  }
}
