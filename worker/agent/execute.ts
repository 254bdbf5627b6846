import { executeRequestSchema } from '../../domain/agent-api.ts';
import type { Accepted } from '../../domain/agent-api.ts';
import type { Admission } from '../../activities/package/admission.ts';
import type { Claims } from '../../activities/package/claims.ts';
import type { ConnectorClient, SubmittedPackage } from '../../client/connector-client.ts';
import type { Digest } from '../../domain/digest.ts';
import { ConnectorError } from '../../domain/errors.ts';
import type { SignedWpk } from '../../domain/wpk.ts';

export interface ExecuteDeps {
  readonly admit: Admission;
  readonly claims: Pick<Claims, 'read'>;
  readonly client: ConnectorClient;
}

/** How long Temporal may take to start a run, ms. */
const STARTED_WITHIN_MS = 5_000;

/**
 * Reads the body of `POST /execute`.
 * @throws {ConnectorError} CALL_MALFORMED
 */
export function readSigned(body: unknown): SignedWpk {
  const parsed = executeRequestSchema.safeParse(parseJson(body));
  if (!parsed.success) throw new ConnectorError('CALL_MALFORMED', '', { cause: parsed.error });
  return parsed.data;
}

/**
 * Takes a package in: it is verified as before each of its steps, and only then its run is started.
 * @throws {ConnectorError} what a package can be denied with, WPK_ALREADY_USED, TEMPORAL_UNAVAILABLE, …
 */
export async function acceptPackage(
  signed: SignedWpk,
  { admit, claims, client }: ExecuteDeps,
): Promise<SubmittedPackage & { readonly wpkDigest: Digest }> {
  const { facts, wpkDigest } = await admit(signed);
  // Temporal forgets runs after a while; the cluster remembers each id for as long as its package is valid.
  if (await claims.read(facts.wpkId)) throw new ConnectorError('WPK_ALREADY_USED');
  const submitted = await client.client.withDeadline(Date.now() + STARTED_WITHIN_MS, () => client.submit(signed));
  return { ...submitted, wpkDigest };
}

/** @see https://docs.temporal.io/nexus/operations for the form of links to a run */
export function describeAccepted({ wpkId, workflowId, runId }: SubmittedPackage, namespace: string): Accepted {
  const [ns, id, run] = [namespace, workflowId, runId].map(encodeURIComponent);
  return {
    id: wpkId,
    workflowId,
    runId,
    links: { workflow: `temporal:///namespaces/${ns}/workflows/${id}/${run}/history`, health: '/health' },
  };
}

function parseJson(body: unknown): unknown {
  if (!Buffer.isBuffer(body)) throw new ConnectorError('CALL_UNSUPPORTED');
  try {
    return JSON.parse(body.toString('utf8'));
  } catch (cause) {
    throw new ConnectorError('CALL_MALFORMED', '', { cause });
  }
}
