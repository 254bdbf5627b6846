import type { Command } from 'commander';
import type { RollbackRequest } from '../../domain/status.ts';
import { printableIn } from '../../domain/printable.ts';
import type { ConnectorClient } from '../connector-client.ts';
import type { Work } from '../package-view.ts';
import { openSigner } from '../signer.ts';
import { signRollback } from '../vote.ts';
import { print, printAs, say } from './output.ts';
import { undoLines, workText } from './render.ts';
import type { ClusterOptions, FormatOptions } from './settings.ts';
import { defaultIdentity, withClient, withCluster, withFormat } from './settings.ts';
import { votedPlan } from './votes.ts';

interface RollbackFlags extends ClusterOptions, FormatOptions {
  readonly as: string;
  readonly key?: string;
}

/** The command that undoes a package which failed or was stopped. */
export function registerRollback(program: Command): void {
  withFormat(withCluster(program.command('rollback')))
    .description(
      'undo what a failed or stopped package has written; exit 0 where nothing is left, 1 where something is',
    )
    .argument('<id>', 'id of the package')
    .option('--as <name>', 'who asks for it, as the entry of the key has it', defaultIdentity())
    .option('--key <key>', 'signs the request: a PEM or cosign key file, or hashivault://NAME')
    .addHelpText(
      'after',
      '\nExample:\n  byoc rollback 01JD0000000000000000000000 --as bob@example.com --key bob.key --cluster prod-eu-1',
    )
    .action(async (id: string, options: RollbackFlags) => {
      await withClient(options, async (client) => {
        const { begin, onWork } = sayWork(id);
        const { outcome, report } = await client.rollback(id, await requestOf(client, id, options), { onWork });
        begin();
        printAs(options.output, { outcome, ...report }, () => undoLines(report));
        if (options.output === 'table' && report.objects.length === 0)
          print('Nothing of it was written, or all is undone already.');
        if (outcome === 'stopped') say('It was stopped before its end. Go on with the same command.');
        if (!report.complete) process.exitCode = 1;
      });
    });
}

/** Tells each change of what is done or waited for, once the cluster has taken it on. */
function sayWork(id: string): { readonly begin: () => void; readonly onWork: (work: Work) => void } {
  let isBegun = false;
  let told = '';
  const begin = () => {
    if (!isBegun) say(`Undoing ${id}, the last step first.`);
    isBegun = true;
  };
  const onWork = (work: Work) => {
    if (work.progress) begin();
    const now = workText(printableIn(work));
    if (now !== '' && now !== told) say(now);
    told = now;
  };
  return { begin, onWork };
}

async function requestOf(
  client: ConnectorClient,
  id: string,
  { as: by, key }: RollbackFlags,
): Promise<RollbackRequest> {
  if (key === undefined) return { by };
  const signer = await openSigner(key, process.env);
  return { by, statement: await signRollback(await votedPlan(client, id), { approver: by, signer }) };
}
