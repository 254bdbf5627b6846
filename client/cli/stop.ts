import type { Command } from 'commander';
import type { KubeApi } from '../../activities/kubernetes/kube-api.ts';
import { createKubeApi } from '../../activities/kubernetes/kube-api.ts';
import { createExecutorLeases, createStateRecords, writeFreeze } from '../../activities/kubernetes/writer.ts';
import { ConnectorError } from '../../domain/errors.ts';
import { freezeNameOf, readFreeze } from '../../domain/freeze.ts';
import type { ExecutorFate } from '../acknowledgements.ts';
import { acknowledgements } from '../acknowledgements.ts';
import { toInteger } from './arguments.ts';
import { print, printAs, say } from './output.ts';
import { kubeConfigOf } from './kubeconfig.ts';
import type { ClusterOptions, FormatOptions } from './settings.ts';
import { clusterOf, defaultIdentity, withClient, withCluster, withFormat } from './settings.ts';

/** Under this name the API server notes who wrote the freeze. */
const BYOC_FIELD_MANAGER = 'byoc';

interface KubeOptions extends ClusterOptions {
  readonly context?: string;
  readonly as: string;
}

interface StopOptions extends KubeOptions, FormatOptions {
  readonly all?: boolean;
  readonly reason?: string;
  readonly timeout: number;
}

/** `byoc stop` and `byoc resume`. */
export function registerStop(program: Command): void {
  withFormat(withKube(withCluster(program.command('stop'))))
    .description('emergency stop: of one package, or of everything in the cluster until somebody resumes it')
    .argument('[id]', 'id of the package; it halts where it is and stays there')
    .option('--all', 'freeze the cluster and stop every package that is being executed; needs access to Kubernetes')
    .option('--reason <text>', 'why; required with --all')
    .option('--timeout <seconds>', 'with --all: how long executors may take to acknowledge', toInteger, 30)
    .addHelpText(
      'after',
      '\nExamples:\n  byoc stop 01JD0000000000000000000000 --cluster prod-eu-1' +
        "\n  byoc stop --all --reason 'checkout is down' --cluster prod-eu-1" +
        '\n\nThe freeze needs neither Temporal nor a worker, and without this command it is:' +
        '\n  kubectl -n byoc-system patch configmap byoc-freeze-CLUSTER --type merge -p \'{"data":{"frozen":"true"}}\'',
    )
    .action(async (id: string | undefined, options: StopOptions) => {
      if (options.all) {
        if (id !== undefined) throw new ConnectorError('USAGE', 'Either an id or --all, not both.');
        return stopAll(options);
      }
      if (id === undefined) throw new ConnectorError('USAGE', 'Name the package to stop, or --all.');
      await withClient(options, async (client) => {
        const { phase } = await client.stop(id);
        printAs(options.output, { wpkId: id, phase }, () => [phase]);
        if (phase !== 'stopped') say(`It had already ended as ${phase}.`);
      });
    });

  withKube(withCluster(program.command('resume')))
    .description('lift the freeze of the cluster; packages that were stopped stay stopped')
    .requiredOption('--reason <text>', 'why; required')
    .addHelpText('after', "\nExample:\n  byoc resume --reason 'checkout is up again' --cluster prod-eu-1")
    .action(async (options: KubeOptions & { readonly reason: string }) => {
      const clusterId = clusterOf(options);
      await withKubeApi(options, async (api) => {
        const before = await createStateRecords(api).read(freezeNameOf(clusterId));
        const data = { frozen: 'false', reason: options.reason, by: options.as };
        await writeFreeze(api, clusterId, data, BYOC_FIELD_MANAGER);
        print('resumed');
        if (before && !readFreeze(before).isFrozen) say('It was not frozen.');
      });
    });
}

function withKube(command: Command): Command {
  return command
    .option('--context <name>', "the kubeconfig's context, where it is not the current one")
    .option('--as <name>', 'who says so, for the audit log', defaultIdentity());
}

/** What one half of the stop came to; the halves need different things and do not wait for each other. */
type Half<T> = { readonly done: T } | { readonly failed: ConnectorError };

async function stopAll(options: StopOptions): Promise<void> {
  const { reason, output, timeout } = options;
  if (!reason) throw new ConnectorError('USAGE', 'Say why: --reason TEXT.');
  const clusterId = clusterOf(options);
  const { promise: frozen, resolve: onFrozen } = Promise.withResolvers<undefined>();
  const freezing = half(() =>
    withKubeApi(options, async (api) => {
      const data = { frozen: 'true', reason, by: options.as };
      // Loading Temporal's client takes longer than this: what halts the cluster goes first, whatever comes of it.
      const frozenAt = await writeFreeze(api, clusterId, data, BYOC_FIELD_MANAGER).finally(() => onFrozen(undefined));
      say('Frozen; waiting for the executors.');
      const { list } = createExecutorLeases(api, clusterId);
      return acknowledgements({ list, frozenAt, withinMs: timeout * 1_000 });
    }),
  );
  const cancelling = frozen.then(() => half(() => withClient(options, (client) => client.stopExecuting())));
  const [executors, cancelled] = await Promise.all([freezing, cancelling]);

  const told = {
    frozen: 'done' in executors,
    executors: 'done' in executors ? executors.done : [],
    cancelled: 'done' in cancelled ? cancelled.done : [],
    errors: [executors, cancelled].flatMap((one) => ('failed' in one ? [one.failed.code] : [])),
  };
  printAs(output, told, () => stopLines(executors, cancelled));
  if ('failed' in executors) throw executors.failed;
  const silent = executors.done.filter(({ fate }) => fate === 'silent');
  if (silent.length > 0) throw new ConnectorError('FREEZE_UNACKNOWLEDGED', silentSentence(silent));
}

async function half<T>(work: () => Promise<T>): Promise<Half<T>> {
  try {
    return { done: await work() };
  } catch (error) {
    if (error instanceof ConnectorError) return { failed: error };
    return { failed: new ConnectorError('INTERNAL', String(error), { cause: error }) };
  }
}

function stopLines(executors: Half<readonly ExecutorFate[]>, cancelled: Half<readonly string[]>): string[] {
  const lines: string[] = [];
  if ('failed' in executors) {
    lines.push('Kubernetes: NOT frozen, packages may go on');
  } else {
    lines.push('Kubernetes: frozen, until byoc resume');
    if (executors.done.length === 0) lines.push('  no executor was at work');
    lines.push(...executors.done.map(({ holder, fate }) => `  executor ${holder}: ${FATES[fate]}`));
  }
  if ('failed' in cancelled) {
    lines.push(
      `Temporal: ${cancelled.failed.code}, no package was cancelled; what is begun, its executor halts itself`,
    );
  } else {
    const { length } = cancelled.done;
    lines.push(`Temporal: ${length === 1 ? 'one package' : `${length} packages`} cancelled that had not halted yet`);
    lines.push(...cancelled.done.map((id) => `  ${id}`));
  }
  return lines;
}

const FATES = {
  acknowledged: 'halted',
  expired: 'gone, it can write no more',
  silent: 'NO ANSWER',
} as const satisfies Record<ExecutorFate['fate'], string>;

function silentSentence(silent: readonly ExecutorFate[]): string {
  const named = silent.map(({ holder, writesInFlight }) => `${holder} (writes under way: ${writesInFlight})`);
  return `No answer from ${named.join(', ')}. The freeze is set all the same.`;
}

async function withKubeApi<T>({ context }: KubeOptions, work: (api: KubeApi) => Promise<T>): Promise<T> {
  const api = createKubeApi(await kubeConfigOf(context, process.env));
  try {
    return await work(api);
  } finally {
    await api.close();
  }
}
