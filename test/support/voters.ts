import { readFile } from 'node:fs/promises';
import { ConnectorClient } from '../../client/connector-client.ts';
import { generateKeyPair } from '../../client/sign.ts';
import type { Signer } from '../../client/signer.ts';
import { localSigner, readPrivateKey } from '../../client/signer/local-key.ts';
import type { VotedPlan } from '../../client/vote.ts';
import { signApproval, signRejection, signRollback } from '../../client/vote.ts';
import type { PreparedConnector } from '../../dev/connector.ts';
import { DEV_APPROVER, trustApprover } from '../../dev/connector.ts';
import type { Services } from '../../dev/stack.ts';
import type { Approve, Reject } from '../../domain/approvals.ts';
import type { Digest } from '../../domain/digest.ts';
import type { PackageStatus, RollbackOutcome, RollbackRequest } from '../../domain/status.ts';

type RollbackOptions = Parameters<ConnectorClient['rollback']>[2];

export type Voters = ReadonlyMap<string, Signer>;

/**
 * Makes keys for those who vote in a test and puts them into Vault, before the worker asks for them for the first time.
 * @param others beside the development approver
 */
export async function trustedVoters(
  services: Services,
  { clusterId, approverKeyPath }: PreparedConnector,
  others: readonly string[],
): Promise<Voters> {
  const signer = (pem: string) => localSigner(readPrivateKey(pem));
  const own = others.map(async (identity, index): Promise<[string, Signer]> => {
    const { privateKeyPem, publicKeyPem } = generateKeyPair();
    await trustApprover(services, clusterId, `voter-${index}`, { pem: publicKeyPem, identity, groups: [] });
    return [identity, signer(privateKeyPem)];
  });
  return new Map([
    [DEV_APPROVER.identity, signer(await readFile(approverKeyPath, 'utf8'))],
    ...(await Promise.all(own)),
  ]);
}

/** A client that signs the votes of those whose keys it has, as `byoc approve --key` does: for where no other vote counts. */
export class SigningClient extends ConnectorClient {
  readonly #voters: Voters;
  readonly #plans = new Map<string, VotedPlan>();

  constructor({ client, clusterId }: ConnectorClient, voters: Voters) {
    const { connection, options } = client;
    super({ connection, clusterId, namespace: options.namespace, dataConverter: options.loadedDataConverter });
    this.#voters = voters;
  }

  override async approve(wpkId: string, vote: Approve): Promise<PackageStatus> {
    return super.approve(wpkId, await this.signedApproval(wpkId, vote));
  }

  override async reject(wpkId: string, vote: Reject): Promise<PackageStatus> {
    return super.reject(wpkId, await this.signedRejection(wpkId, vote));
  }

  override async rollback(
    wpkId: string,
    request: RollbackRequest,
    ...more: [RollbackOptions?]
  ): Promise<RollbackOutcome> {
    const { by: approver, statement } = request;
    const { signer, about } = await this.votes(wpkId, { approver, statement, reason: '' });
    const signed =
      signer && about ? { by: approver, statement: await signRollback(about, { approver, signer }) } : request;
    return super.rollback(wpkId, signed, ...more);
  }

  /** The argument of the signal `approve`. */
  async signedApproval(wpkId: string, vote: Approve): Promise<Approve> {
    const { signer, about } = await this.votes(wpkId, vote);
    return signer && about ? signApproval(about, { ...vote, signer }) : vote;
  }

  /** So that a vote on it can be signed while no worker answers. */
  async rememberPlan(wpkId: string): Promise<VotedPlan | undefined> {
    const [{ workflowId, runId }, plan] = await Promise.all([this.get(wpkId), this.plan(wpkId)]);
    const about = plan && { workflowId, runId, plan };
    if (about) this.#plans.set(`${wpkId} ${plan.digest}`, about);
    return about;
  }

  /** The argument of the signal `reject`. */
  async signedRejection(wpkId: string, vote: Reject): Promise<Reject> {
    const { signer, about } = await this.votes(wpkId, vote);
    return signer && about ? signRejection(about, { ...vote, signer }) : vote;
  }

  /** A vote without a plan to be about, or of somebody whose key is not here, goes as it is. */
  private async votes(wpkId: string, { approver, planDigest, statement }: Approve | Reject) {
    const signer = statement === undefined ? this.#voters.get(approver) : undefined;
    if (!signer) return {};
    const about = this.#plans.get(`${wpkId} ${planDigest}`) ?? (await this.rememberPlan(wpkId));
    if (!about) return {};
    const { plan } = about;
    return {
      signer,
      about: { ...about, plan: { ...plan, ...(planDigest !== undefined && { digest: planDigest as Digest }) } },
    };
  }
}
