import type { Digest, Sha256 } from '../../domain/digest.ts';
import { ConnectorError } from '../../domain/errors.ts';
import { isMalformed } from '../../domain/malformed.ts';
import { parseWpk } from '../../domain/parse-wpk.ts';
import type { Policy } from '../../domain/policy.ts';
import { digestOfSteps, isValidTooLong, policyDenials } from '../../domain/policy.ts';
import type { PackageFacts } from '../../domain/status.ts';
import type { SignedWpk, Wpk } from '../../domain/wpk.ts';
import { WPK_MAX_BYTES } from '../../domain/wpk.ts';
import type { LoadedPolicy, PolicySource } from '../policy/load-policy.ts';
import type { KeySource } from '../sigstore/keys.ts';
import type { TrustedRoot } from '../sigstore/trusted-root.ts';
import type { VerifiedSignature } from '../sigstore/verify-signature.ts';
import { verifyBundle } from '../sigstore/verify-signature.ts';

/** A package whose signature holds, that is well-formed, valid now, for this cluster, and allowed by the policy. */
export interface AdmittedWpk {
  readonly wpk: Wpk;
  readonly wpkDigest: Digest;
  /** What an auto-approval is bound to. */
  readonly stepsDigest: Digest;
  readonly facts: PackageFacts;
  readonly policy: LoadedPolicy;
}

export interface AdmissionDeps {
  readonly clusterId: string;
  readonly keys: KeySource;
  /** What certificates and log entries are checked against; without one, bundles that bring them are refused. */
  readonly trustedRoot: TrustedRoot | undefined;
  readonly policy: PolicySource;
  readonly sha256: Sha256;
  readonly now: () => Date;
}

/** How far the clock of the author's machine may be ahead, ms. */
const CLOCK_SKEW_MS = 30_000;

/** How long a package that was begun in time may take to end, ms: as long as Temporal lets its activity. */
export const FINISH_WITHIN_MS = 7 * 86_400_000;

/** Parsed packages that are remembered by digest: the activities of one package follow each other closely. */
const REMEMBERED = 16;

interface Parsed {
  readonly wpk: Wpk;
  readonly stepsDigest: Digest;
}

export interface AdmissionOptions {
  /** Whether the package is being executed already: what was begun in time may end after it. */
  readonly begun?: boolean;
  /** Asks for the keys anew, so that a revocation is seen at once. */
  readonly fresh?: boolean;
}

export type Admission = (signed: unknown, options?: AdmissionOptions) => Promise<AdmittedWpk>;

/**
 * Checks a package from the raw bytes on, each time anew: keys may be revoked and the policy may change while it waits.
 * The signature comes first; nothing is parsed before it holds. Throws a ConnectorError for the first thing that is wrong.
 */
export function createAdmission(deps: AdmissionDeps): Admission {
  const parsed = new Map<Digest, Parsed>();

  function parseOnce(digest: Digest, payload: Uint8Array): Parsed {
    const known = parsed.get(digest);
    if (known) return known;
    const wpk = parseWpk(payload);
    const one = { wpk, stepsDigest: digestOfSteps(deps.sha256, wpk) };
    parsed.set(digest, one);
    const [oldest] = parsed.keys();
    if (parsed.size > REMEMBERED && oldest) parsed.delete(oldest);
    return one;
  }

  return async (signed, { begun = false, fresh = false } = {}) => {
    const { payload, bundle } = decode(signed);
    const now = deps.now();
    const [keys, policy] = await Promise.all([deps.keys.load({ fresh }), deps.policy()]);
    const { pinnedKeys, keyless: identities } = policy.policy.signing;
    const { trustedRoot } = deps;
    const signature = verifyBundle({
      payload,
      bundle,
      keys,
      now,
      ...(pinnedKeys && { pinnedKeys }),
      ...(trustedRoot && { keyless: { trustedRoot, identities } }),
    });
    const wpkDigest = deps.sha256(payload);
    const { wpk, stepsDigest } = parseOnce(wpkDigest, payload);
    checkValidity(wpk, now, policy.policy, begun);
    if (wpk.target.clusterId !== deps.clusterId) {
      throw new ConnectorError('WPK_WRONG_CLUSTER', `It names ${wpk.target.clusterId}; this is ${deps.clusterId}.`);
    }
    const denials = policyDenials(policy.policy, wpk);
    if (denials.length > 0) throw new ConnectorError('POLICY_DENIED', `${denials.join('; ')}.`);
    return { wpk, wpkDigest, stepsDigest, policy, facts: factsOf(wpk, wpkDigest, signature) };
  };
}

/** The digest of whatever was sent as payload, for the audit of packages that are refused unread. */
export function payloadDigest(signed: unknown, sha256: Sha256): Digest | undefined {
  try {
    return sha256(decode(signed).payload);
  } catch {
    return undefined;
  }
}

const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;

function decode(signed: unknown): { payload: Uint8Array; bundle: unknown } {
  if (isMalformed(signed)) throw new ConnectorError('BUNDLE_MALFORMED', 'The message could not be decoded.');
  const { payload, bundle } = (typeof signed === 'object' && signed !== null ? signed : {}) as Partial<SignedWpk>;
  if (typeof payload !== 'string' || payload.length % 4 !== 0 || !BASE64.test(payload)) {
    throw new ConnectorError('BUNDLE_MALFORMED', 'The payload is not base64.');
  }
  if (payload.length > Math.ceil((WPK_MAX_BYTES + 1) / 3) * 4) throw new ConnectorError('WPK_TOO_LARGE');
  return { payload: Buffer.from(payload, 'base64'), bundle };
}

function checkValidity(wpk: Wpk, now: Date, policy: Policy, begun: boolean): void {
  const { metadata } = wpk;
  const [from, until] = [Date.parse(metadata.notBefore), Date.parse(metadata.expiresAt)];
  if (isValidTooLong(policy, wpk)) {
    throw new ConnectorError('WPK_VALIDITY_TOO_LONG', `At most ${policy.maxValiditySeconds} seconds are allowed.`);
  }
  const grace = begun ? FINISH_WITHIN_MS : 0;
  if (now.getTime() >= until + grace) throw new ConnectorError('WPK_EXPIRED', `It expired at ${metadata.expiresAt}.`);
  if (now.getTime() < from - CLOCK_SKEW_MS) {
    throw new ConnectorError('WPK_NOT_YET_VALID', `It becomes valid at ${metadata.notBefore}.`);
  }
}

function factsOf(
  { metadata, target, reason, steps, onFailure }: Wpk,
  wpkDigest: Digest,
  signature: VerifiedSignature,
): PackageFacts {
  return {
    wpkId: metadata.id,
    name: metadata.name,
    playbook: `${metadata.playbook.id}@${metadata.playbook.version}`,
    author: metadata.author,
    reason,
    clusterId: target.clusterId,
    namespaces: target.namespaces,
    steps: steps.length,
    expiresAt: metadata.expiresAt,
    wpkDigest,
    onFailure,
    signedBy: signature.keyName,
    signerFingerprint: signature.fingerprint,
    ...(signature.identity !== undefined && { signerIdentity: signature.identity }),
  };
}
