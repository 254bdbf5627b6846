import type { Command } from 'commander';
import { print, printAs, say } from './output.ts';
import { undoLines } from './render.ts';
import type { ClusterOptions, FormatOptions } from './settings.ts';
import { withClient, withCluster, withFormat } from './settings.ts';

/** The command that undoes a package which failed or was stopped. */
export function registerRollback(program: Command): void {
  withFormat(withCluster(program.command('rollback')))
    .description(
      'undo what a failed or stopped package has written; exit 0 where nothing is left, 1 where something is',
    )
    .argument('<id>', 'id of the package')
    .addHelpText('after', '\nExample:\n  byoc rollback 01JD0000000000000000000000 --cluster prod-eu-1')
    .action(async (id: string, options: ClusterOptions & FormatOptions) => {
      await withClient(options, async (client) => {
        say(`Undoing ${id}, the last step first.`);
        const { outcome, report } = await client.rollback(id);
        printAs(options.output, { outcome, ...report }, () => undoLines(report));
        if (options.output === 'table' && report.objects.length === 0)
          print('Nothing of it was written, or all is undone already.');
        if (outcome === 'stopped') say('It was stopped before its end. Go on with the same command.');
        if (!report.complete) process.exitCode = 1;
      });
    });
}
