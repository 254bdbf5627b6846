import { ulid } from 'ulid';
import type { PackageView } from '../../client/package-view.ts';
import { generateKeyPair } from '../../client/sign.ts';
import { openSigner } from '../../client/signer.ts';
import { signApproval, signRejection } from '../../client/vote.ts';
import { trustApprover } from '../../dev/connector.ts';
import type { Approve, Reject } from '../../domain/approvals.ts';
import type { CommandResult, TestConnector } from './connector.ts';

/** Somebody whose key is in the Vault of a connector. */
export interface TestApprover {
  readonly identity: string;
  readonly keyFile: string;
  readonly publicKeyPem: string;
  /** Name of the entry in Vault. */
  readonly entry: string;
}

export interface ApproverOptions {
  readonly groups?: readonly string[];
}

/** Makes an approver. All of a file's are made before its first vote: the worker asks Vault for them every 30 s. */
export async function approver(
  connector: TestConnector,
  identity: string,
  { groups = [] }: ApproverOptions = {},
): Promise<TestApprover> {
  const { privateKeyPem, publicKeyPem } = generateKeyPair();
  const entry = ulid().toLowerCase();
  const keyFile = await connector.save(`${entry}.pem`, privateKeyPem);
  await trustApprover(connector.services, connector.clusterId, entry, { pem: publicKeyPem, identity, groups });
  return { identity, keyFile, publicKeyPem, entry };
}

/** Revokes an approver's key in Vault. */
export async function revoke(
  connector: TestConnector,
  { identity, entry, publicKeyPem: pem }: TestApprover,
): Promise<void> {
  const revokedAt = new Date().toISOString();
  await connector.putVaultEntry(`approvers/${entry}`, { pem, identity, groups: [], revokedAt });
}

/** Approves the plan as it is now, with the command. */
export async function approveWithKey(
  connector: TestConnector,
  { identity, keyFile }: TestApprover,
  { wpkId, planDigest }: { readonly wpkId: string; readonly planDigest: string },
): Promise<CommandResult> {
  return connector.byoc('approve', wpkId, '--as', identity, '--key', keyFile, '--plan', planDigest);
}

interface VoteOptions {
  /** When it is signed. */
  readonly time?: Date;
  /** Whose name it says, where that is not the owner of the key. */
  readonly as?: string;
  /** Another run or cluster that it was given for. */
  readonly for?: { readonly runId?: string; readonly clusterUid?: string };
}

/** A signed approval of the plan that a package waits with, ready to be sent by a signal. */
export async function approvalBy(
  connector: TestConnector,
  { identity, keyFile }: TestApprover,
  wpkId: string,
  { time, as = identity, for: elsewhere = {} }: VoteOptions = {},
): Promise<Approve> {
  const signer = await openSigner(keyFile, {});
  const about = await votedPlan(connector, wpkId);
  const { runId = about.runId, clusterUid = about.plan.clusterUid } = elsewhere;
  const voted = { ...about, runId, plan: { ...about.plan, clusterUid } };
  return signApproval(voted, { approver: as, signer, ...(time && { time }) });
}

export async function rejectionBy(
  connector: TestConnector,
  { identity, keyFile }: TestApprover,
  wpkId: string,
  { time, as = identity }: VoteOptions = {},
): Promise<Reject> {
  const signer = await openSigner(keyFile, {});
  const vote = { approver: as, signer, reason: 'not today', ...(time && { time }) };
  return signRejection(await votedPlan(connector, wpkId), vote);
}

async function votedPlan({ client }: TestConnector, wpkId: string) {
  const [{ workflowId, runId }, plan] = await Promise.all([client.get(wpkId), client.plan(wpkId)]);
  if (!plan) throw new Error(`${wpkId} has no plan`);
  return { workflowId, runId, plan };
}

/** The votes of a package and what became of each: `approve bob@example.com APPROVAL_…`, or `counts`. */
export function fates({ votes }: Pick<PackageView, 'votes'>): string[] {
  return votes.map(({ decision, approver: by, refused }) => `${decision} ${by} ${refused?.code ?? 'counts'}`);
}
