import type { Command } from 'commander';
import type { Approve, Reject } from '../../domain/approvals.ts';
import { ConnectorError } from '../../domain/errors.ts';
import { moment } from '../../domain/moment.ts';
import type { Plan } from '../../domain/plan.ts';
import { isEnd } from '../../domain/status.ts';
import type { ConnectorClient } from '../connector-client.ts';
import type { PackageView } from '../package-view.ts';
import { openSigner } from '../signer.ts';
import type { VotedPlan } from '../vote.ts';
import { signApproval, signRejection } from '../vote.ts';
import { toDigest } from './arguments.ts';
import { confirm } from './confirm.ts';
import { BYOC, paint, print, say } from './output.ts';
import { packageLines, planLines, rollbackText } from './render.ts';
import type { ClusterOptions } from './settings.ts';
import { defaultIdentity, withClient, withCluster } from './settings.ts';

interface VoteOptions extends ClusterOptions {
  readonly as: string;
  readonly key?: string;
  readonly plan?: string;
  readonly print?: boolean;
}

/** `byoc approve` and `byoc reject`. */
export function registerVotes(program: Command): void {
  withVote(program.command('approve'))
    .description('approve the current plan of a package')
    .option('--comment <text>', 'kept with the vote')
    .option('--plan <digest>', 'approve exactly this plan, without showing it', toDigest)
    .addHelpText(
      'after',
      '\nExamples:\n  byoc approve 01JD0000000000000000000000 --as bob@example.com --key bob.key --cluster prod-eu-1' +
        '\n  byoc approve 01JD0000000000000000000000 --as bob@example.com --key hashivault://bob --plan sha256:… --print',
    )
    .action(async (id: string, options: VoteOptions & { comment?: string }) => {
      await withClient(options, async (client) => {
        const view = await client.get(id);
        refuseEnded(view);
        const about = await planIn(client, view);
        if (!(await isMeant(view, about, options.plan))) {
          say('Nothing was sent.');
          process.exitCode = 1;
          return;
        }
        const vote = await approval(about, options);
        if (options.print) return printVote(vote, about, 'approve');
        const { missing = 0, missingGroups = [] } = await client.approve(id, vote);
        const groups = missingGroups.length > 0 ? `, somebody of ${missingGroups.join(', ')} among them` : '';
        print(missing > 0 ? `approved; ${missing} more needed${groups}` : 'approved');
      });
    });

  withVote(program.command('reject'))
    .description('reject a package')
    .requiredOption('--reason <text>', 'why; required')
    .addHelpText(
      'after',
      "\nExample:\n  byoc reject 01JD0000000000000000000000 --reason 'not during the sale' --as bob@example.com --key bob.key",
    )
    .action(async (id: string, options: VoteOptions & { reason: string }) => {
      await withClient(options, async (client) => {
        const { key, as: approver, reason } = options;
        const view = await client.get(id);
        refuseEnded(view);
        const about = key === undefined ? undefined : await planIn(client, view);
        const vote: Reject =
          about && key !== undefined
            ? await signRejection(about, { approver, reason, signer: await openSigner(key, process.env) })
            : { approver, reason };
        if (options.print) return printVote(vote, about, 'reject');
        await client.reject(id, vote).catch(async (error: unknown) => {
          if (!isClosed(error)) throw error;
          const now = await client.get(id).catch(() => undefined); // what came of the vote is told in any case
          throw now ? tooLate(error, now) : error;
        });
        print('rejected');
      });
    });
}

function withVote(command: Command): Command {
  return withCluster(command)
    .argument('<id>', 'id of the package')
    .option('--as <name>', 'who votes, as the entry of the key has it', defaultIdentity())
    .option('--key <key>', 'signs the vote: a PEM or cosign key file, or hashivault://NAME')
    .option('--print', 'print the input of the signal instead of sending it: for the Temporal UI or command');
}

async function approval(
  about: VotedPlan,
  { as: approver, key, comment }: VoteOptions & { comment?: string },
): Promise<Approve> {
  const said = comment === undefined ? {} : { comment };
  if (key === undefined) return { approver, planDigest: about.plan.digest, ...said };
  return signApproval(about, { approver, signer: await openSigner(key, process.env), ...said });
}

function isClosed(error: unknown): error is ConnectorError {
  return error instanceof ConnectorError && error.code === 'APPROVAL_CLOSED';
}

/** A no to what is approved is told that it is too late, and holds where nothing was begun yet (docs/approvals.md). */
export function tooLate(error: ConnectorError, { phase, wpkId }: PackageView): ConnectorError {
  if (phase !== 'executing') return error;
  const what = 'It is approved already; where it has not begun, the no is kept and counts.';
  return new ConnectorError(error.code, `${what} To be sure: ${BYOC} stop ${wpkId}`, { cause: error });
}

interface ShownPlan extends VotedPlan {
  readonly plan: Plan;
  /** The one before, where the cluster or the policy changed. */
  readonly replaced: Plan | undefined;
}

/** The current plan of a package, also of one that has ended. Throws APPROVAL_CLOSED where there is none. */
export async function votedPlan(client: ConnectorClient, id: string): Promise<ShownPlan> {
  return planIn(client, await client.get(id));
}

async function planIn(client: ConnectorClient, view: PackageView): Promise<ShownPlan> {
  const { wpkId, workflowId, runId, replans } = view;
  const [plan, replaced] = await Promise.all([
    client.plan(wpkId),
    replans > 0 ? client.replacedPlan(wpkId) : undefined,
  ]);
  if (!plan) throw new ConnectorError('APPROVAL_CLOSED', 'There is no plan yet.');
  return { workflowId, runId, plan, replaced };
}

/**
 * Which plan a vote names is no longer of interest then.
 * @throws {ConnectorError} APPROVAL_CLOSED with how the package ended
 */
export function refuseEnded({ phase, since, error, rollback }: PackageView): void {
  if (!isEnd(phase)) return;
  const why = error ? ` (${error.code})` : '';
  const afterwards = rollback ? ` Afterwards: ${rollbackText(rollback)}.` : '';
  throw new ConnectorError('APPROVAL_CLOSED', `It ended as ${phase}${why} at ${moment(since)}.${afterwards}`);
}

/**
 * Shows the package and its plan, and asks; where it is named already, it must be the current one. Without a terminal it must be named, so
 * that nobody approves what they have not seen.
 */
async function isMeant(view: PackageView, { plan, replaced }: ShownPlan, named: string | undefined): Promise<boolean> {
  if (named !== undefined) {
    if (named === plan.digest) return true;
    throw new ConnectorError('APPROVAL_PLAN_MISMATCH', `The current plan is ${plan.digest}.`);
  }
  if (!process.stdin.isTTY) {
    throw new ConnectorError('USAGE', `Without a terminal, name the plan that you approve: --plan ${plan.digest}`);
  }
  [...packageLines(view), ...planLines(plan, replaced)].forEach((line) => say(line));
  return confirm(paint('bold', 'Approve exactly this plan?', process.stderr));
}

function printVote(vote: Approve | Reject, about: VotedPlan | undefined, name: 'approve' | 'reject'): void {
  print(JSON.stringify(vote));
  const id = about?.workflowId ?? 'ID';
  say(`Send it with: temporal workflow signal --workflow-id '${id}' --name ${name} --input-file FILE`);
}
