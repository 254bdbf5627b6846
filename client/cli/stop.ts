import type { Command } from 'commander';
import type { KubeApi } from '../../activities/kubernetes/kube-api.ts';
import { createKubeApi } from '../../activities/kubernetes/kube-api.ts';
import { kubeConfigOf } from '../../activities/kubernetes/kubeconfig.ts';
import type { StateRecords } from '../../activities/kubernetes/writer.ts';
import { createExecutorLeases, createStateRecords, writeFreeze } from '../../activities/kubernetes/writer.ts';
import { ConnectorError } from '../../domain/errors.ts';
import type { FreezeData } from '../../domain/freeze.ts';
import { freezeNameOf, freezeRecordNameOf, readFreeze } from '../../domain/freeze.ts';
import { printable } from '../../domain/printable.ts';
import type { RollbackOutcome, StopRequest } from '../../domain/status.ts';
import type { ConnectorClient, StoppedPackage } from '../connector-client.ts';
import type { ExecutorFate } from '../acknowledgements.ts';
import { acknowledgements } from '../acknowledgements.ts';
import { toInteger } from './arguments.ts';
import { print, printAs, reportError, say, sayUnlessSoon } from './output.ts';
import type { ClusterOptions, FormatOptions } from './settings.ts';
import { clusterOf, defaultIdentity, stateNamespace, withClient, withCluster, withFormat } from './settings.ts';

/** A stop does not wait for Vault. */
const WITHOUT_KEYS = { withKeys: false } as const;

/** After so long without an acknowledgement the stop of one package says what it waits for, ms. */
const ACKNOWLEDGED_SOON_MS = 2_000;

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
    .option('--reason <text>', 'why, for whoever is waiting and for the audit log')
    .option('--timeout <seconds>', 'with --all: how long executors may take to acknowledge', toInteger, 30)
    .addHelpText(
      'after',
      "\nExamples:\n  byoc stop 01JD0000000000000000000000 --reason 'wrong version' --cluster prod-eu-1" +
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
      await withClient(
        options,
        async (client) => {
          const { phase, rollback } = await stopOne(client, id, options);
          printAs(options.output, { wpkId: id, phase, ...(rollback && { rollback }) }, () => [phase]);
          if (rollback) say(rollbackSentence(rollback));
          else if (phase !== 'stopped') say(`It had already ended as ${phase}.`);
        },
        WITHOUT_KEYS,
      );
    });

  withKube(withCluster(program.command('resume')))
    .description('lift the freeze of the cluster; packages that were stopped stay stopped')
    .requiredOption('--reason <text>', 'why; required')
    .addHelpText('after', "\nExample:\n  byoc resume --reason 'checkout is up again' --cluster prod-eu-1")
    .action(async (options: KubeOptions & { readonly reason: string }) => {
      const clusterId = clusterOf(options);
      await withKubeApi(options, async (api) => {
        const records = createStateRecords(api, stateNamespace());
        const before = await records.read(freezeNameOf(clusterId));
        await assertInstalled(records, clusterId);
        const data = { frozen: 'false', reason: options.reason, by: options.as };
        await writeFreeze(api, clusterId, data, BYOC_FIELD_MANAGER, stateNamespace());
        if (before && !readFreeze(before).isFrozen) return print('It was not frozen.');
        print('resumed');
        say('Packages that waited go on by themselves; those that were stopped stay stopped.');
      });
    });
}

async function stopOne(client: ConnectorClient, id: string, options: StopOptions): Promise<StoppedPackage> {
  let acknowledged: (() => void) | undefined;
  const onRecorded = () => {
    const what = 'The stop is recorded; waiting for a worker to acknowledge it.';
    acknowledged = sayUnlessSoon(what, ACKNOWLEDGED_SOON_MS);
  };
  try {
    return await client.stop(id, stopRequestOf(options), { onRecorded });
  } finally {
    acknowledged?.();
  }
}

function withKube(command: Command): Command {
  return command
    .option('--context <name>', "the kubeconfig's context, where it is not the current one")
    .option('--as <name>', 'who says so, for the audit log', defaultIdentity());
}

function stopRequestOf({ as: by, reason }: StopOptions): StopRequest {
  return { by, ...(reason && { reason }) };
}

/** What one half of the stop came to; the halves need different things and do not wait for each other. */
type Half<T> = { readonly done: T } | { readonly failed: ConnectorError };

function rollbackSentence(rollback: RollbackOutcome | 'sealed'): string {
  // A stop asks no Vault for keys: it must do its work where there is none.
  if (rollback === 'sealed')
    return 'Its rollback was told to halt, and has ended; byoc show says how, with a login for the payload keys.';
  const { outcome, report } = rollback;
  if (outcome === 'stopped') return 'Its rollback halts where it is; byoc rollback goes on with it.';
  return `Its rollback had just ended${report.complete ? '' : ', and not as a whole'}.`;
}

/** What came of the freeze once it is set. */
interface Freezing {
  readonly executors: Half<readonly ExecutorFate[]>;
  readonly installed: Half<void>;
}

async function stopAll(options: StopOptions): Promise<void> {
  const { reason = 'no reason given', output, timeout } = options; // nobody has to look for words in an emergency
  const clusterId = clusterOf(options);
  const { promise: frozen, resolve: onFrozen } = Promise.withResolvers<undefined>();
  const freezing = half(() =>
    withKubeApi(options, async (api): Promise<Freezing> => {
      const records = createStateRecords(api, stateNamespace());
      const already = await alreadyFrozen(records, clusterId);
      const data = already ?? { frozen: 'true', reason, by: options.as };
      const { list } = createExecutorLeases(api, clusterId, stateNamespace());
      const atWork = list().catch(() => []); // beside the freeze, which nothing holds up
      // Loading Temporal's client takes longer than this: what halts the cluster goes first, whatever comes of it.
      const frozenAt = await writeFreeze(api, clusterId, data, BYOC_FIELD_MANAGER, stateNamespace());
      onFrozen(undefined);
      say(already ? alreadySentence(already) : 'Frozen; waiting for the executors.');
      const before = await atWork;
      const [executors, installed] = await Promise.all([
        half(() => acknowledgements({ list, before, frozenAt, withinMs: timeout * 1_000 })),
        half(() => assertInstalled(records, clusterId)),
      ]);
      return { executors, installed };
    }),
  );
  // Where it cannot be frozen, Temporal alone halts what it can.
  const cancelling = Promise.race([frozen, freezing]).then(() =>
    half(() => withClient(options, (client) => client.stopExecuting(stopRequestOf(options)), WITHOUT_KEYS)),
  );
  const [freeze, cancelled] = await Promise.all([freezing, cancelling]);

  const halves = 'done' in freeze ? [freeze.done.executors, freeze.done.installed, cancelled] : [freeze, cancelled];
  const told = {
    frozen: 'done' in freeze,
    executors: 'done' in freeze && 'done' in freeze.done.executors ? freeze.done.executors.done : [],
    cancelled: 'done' in cancelled ? cancelled.done : [],
    errors: halves.flatMap((one) => ('failed' in one ? [one.failed.code] : [])),
  };
  printAs(output, told, () => [...freezeLines(freeze), ...cancelLines(cancelled, told.frozen)]);
  if ('failed' in freeze) {
    reportError(freeze.failed);
    process.exitCode = 3; // whatever the reason: who reads 1 or 2 may take it for frozen
    return;
  }
  const { executors, installed } = freeze.done;
  if ('failed' in installed) {
    const undo = `kubectl -n ${stateNamespace()} delete configmap ${freezeNameOf(clusterId)}`;
    if (installed.failed instanceof NotInstalled) say(`What was set for nobody goes with: ${undo}`);
    throw installed.failed;
  }
  if ('failed' in executors) throw new ConnectorError('FREEZE_UNACKNOWLEDGED', unknownSentence(executors.failed));
  const silent = executors.done.filter(({ fate }) => fate === 'silent');
  if (silent.length > 0) throw new ConnectorError('FREEZE_UNACKNOWLEDGED', silentSentence(silent));
}

/**
 * Who froze the cluster first, and why, is in the audit log; another stop must not put its own words in their place.
 * Undefined where it is open, and where that cannot be read: to freeze is what counts.
 */
async function alreadyFrozen(records: StateRecords, clusterId: string): Promise<FreezeData | undefined> {
  const data = await records.read(freezeNameOf(clusterId)).catch(() => undefined);
  if (!data) return undefined;
  const { isFrozen, reason, by } = readFreeze(data);
  return isFrozen ? { frozen: 'true', reason, by } : undefined;
}

function alreadySentence({ by, reason }: FreezeData): string {
  const whose = `${by && ` by ${printable(by)}`}${reason && `: ${printable(reason)}`}`;
  return `It was frozen already${whose}. That stays in place; waiting for the executors.`;
}

/** The name of the freeze holds the cluster id: with a wrong one, something is frozen that nobody looks at. */
class NotInstalled extends ConnectorError {
  constructor(clusterId: string) {
    const what = `No connector ever ran in this Kubernetes cluster as ${clusterId}.`;
    super('CONFIG_INVALID', `${what} Check --cluster and --context.`);
  }
}

/** @throws {NotInstalled} */
async function assertInstalled(records: StateRecords, clusterId: string): Promise<void> {
  if (!(await records.read(freezeRecordNameOf(clusterId)))) throw new NotInstalled(clusterId);
}

async function half<T>(work: () => Promise<T>): Promise<Half<T>> {
  try {
    return { done: await work() };
  } catch (error) {
    if (error instanceof ConnectorError) return { failed: error };
    return { failed: new ConnectorError('INTERNAL', String(error), { cause: error }) };
  }
}

function freezeLines(freeze: Half<Freezing>): string[] {
  if ('failed' in freeze) return ['Kubernetes: NOT frozen, packages may go on'];
  const { executors, installed } = freeze.done;
  if ('failed' in installed && installed.failed instanceof NotInstalled)
    return ['Kubernetes: a freeze is set that NOBODY looks at'];
  const head = 'Kubernetes: frozen, until byoc resume';
  if ('failed' in executors)
    return [head, `  executors: ${executors.failed.code}, nobody can tell whether they halted`];
  if (executors.done.length === 0) return [head, '  no executor was at work'];
  return [head, ...executors.done.map(({ holder, fate }) => `  executor ${holder}: ${FATES[fate]}`)];
}

function cancelLines(cancelled: Half<readonly string[]>, isFrozen: boolean): string[] {
  if ('failed' in cancelled) {
    const rest = isFrozen ? '; what is begun, its executor halts itself' : '';
    return [`Temporal: ${cancelled.failed.code}, no package was cancelled${rest}`];
  }
  const { length } = cancelled.done;
  return [
    `Temporal: ${length === 1 ? 'one package' : `${length} packages`} cancelled that had not halted yet`,
    ...cancelled.done.map((id) => `  ${id}`),
  ];
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

function unknownSentence({ code, detail }: ConnectorError): string {
  return `Who is at work cannot be read (${code}${detail && `: ${detail}`}). The freeze is set all the same.`;
}

async function withKubeApi<T>({ context }: KubeOptions, work: (api: KubeApi) => Promise<T>): Promise<T> {
  const api = createKubeApi(await kubeConfigOf(context, process.env));
  try {
    return await work(api);
  } finally {
    await api.close();
  }
}
