import type { Command } from 'commander';
import { namesOtherBytes } from '../../activities/sigstore/other-bytes.ts';
import { ConnectorError } from '../../domain/errors.ts';
import { checkWpk } from '../../domain/parse-wpk.ts';
import { moment } from '../../domain/moment.ts';
import { printable, printableIn } from '../../domain/printable.ts';
import { isEnd } from '../../domain/status.ts';
import type { EndPhase } from '../../domain/status.ts';
import type { SignedWpk } from '../../domain/wpk.ts';
import type { ConnectorClient, ListedNow, ListedPackage } from '../connector-client.ts';
import type { PackageView } from '../package-view.ts';
import { toInteger } from './arguments.ts';
import { problemLine } from './check.ts';
import { bundleBeside, readInput } from './files.ts';
import { BYOC, columns, printAs, say, sayUnlessSoon } from './output.ts';
import { approvedText, packageLines, phaseText, planLines, rollbackText, workText } from './render.ts';
import type { ClusterOptions, FormatOptions } from './settings.ts';
import { clusterOf, withClient, withCluster, withFormat } from './settings.ts';

type Options = ClusterOptions & FormatOptions;

/** The commands that run packages and follow them. */
export function registerPackages(program: Command): void {
  submitCommand(program);
  listCommand(program);
  showCommand(program);
  watchCommand(program);
}

function submitCommand(program: Command): void {
  withFormat(withCluster(program.command('submit')))
    .description('send a signed package to its cluster')
    .argument('<file>', 'the package; its signature lies beside it as NAME.wpk.sigstore.json')
    .option('--bundle <file>', 'the signature, where it lies elsewhere')
    .option('--wait', 'follow the package to its end')
    .addHelpText('after', '\nExample:\n  byoc submit restart-checkout.wpk.json --cluster prod-eu-1')
    .action(async (file: string, options: Options & { bundle?: string; wait?: boolean }) => {
      const bundleFile = options.bundle ?? bundleBeside(file);
      const signed = await readSigned(file, bundleFile);
      if (!isFit(file, signed, clusterOf(options))) {
        process.exitCode = 1;
        return;
      }
      assertSignsIt(file, bundleFile, signed);
      await withClient(options, async (client) => {
        const submitted = await client.submit(signed);
        if (options.wait) return follow(client, submitted.wpkId, options);
        printAs(options.output, submitted, () => [submitted.wpkId], 'table');
        say(`Follow it with: byoc watch ${submitted.wpkId} --cluster ${client.clusterId}`);
      });
    });
}

/**
 * Refuses here what the cluster would refuse anyway, with the place in the file; what only the cluster knows is its
 * business. Another cluster's package would wait for ever where that one has no worker, and use its id up where it has one.
 * @throws {ConnectorError} USAGE
 */
function isFit(file: string, { payload }: SignedWpk, clusterId: string): boolean {
  const { wpk, problems } = checkWpk(Buffer.from(payload, 'base64'));
  problems.forEach((one) => say(printable(problemLine(file, one))));
  if (!wpk) return false;
  const addressed = wpk.target.clusterId;
  if (addressed === clusterId) return true;
  throw new ConnectorError('USAGE', `${file} is for the cluster ${addressed}, not for ${clusterId}: nothing was sent.`);
}

/**
 * Whether somebody may sign only the cluster knows; that a signature is for other bytes, as after a change, shows here.
 * @throws {ConnectorError} SIGNATURE_INVALID
 */
function assertSignsIt(file: string, bundleFile: string, { payload, bundle }: SignedWpk): void {
  if (!namesOtherBytes(Buffer.from(payload, 'base64'), bundle)) return;
  const what = `${bundleFile} signs other bytes than those of ${file}.`;
  throw new ConnectorError('SIGNATURE_INVALID', `${what} Sign it anew. Nothing was sent.`);
}

function listCommand(program: Command): void {
  withFormat(withCluster(program.command('list')))
    .description('the newest packages of the cluster')
    .option('--limit <n>', 'how many at most', toInteger, 50)
    .addHelpText('after', '\nExample:\n  byoc list --cluster prod-eu-1 -o json')
    .action(async (options: Options & { limit: number }) => {
      await withClient(options, async (client) => {
        const packages = await client.list({ limit: options.limit });
        const now = await client.listNow(packages);
        const listed = packages.map((one, index) => ({ ...one, ...now[index] }));
        if (listed.length === 0 && options.limit > 0)
          say(`Temporal knows no package of a cluster ${client.clusterId}.`);
        printAs(options.output, listed, () => listLines(listed));
      });
    });
}

type Listed = ListedPackage & ListedNow;

/** What a list says of each package in its line. */
export function listLines(listed: readonly Listed[]): string[] {
  return columns([
    ['ID', 'PHASE', 'RISK', 'PLAYBOOK', 'STARTED', 'NOTE'],
    ...listed.map((one) => [
      ...[one.wpkId, listedPhase(one), one.risk ?? '-', one.playbook ?? '-', moment(one.startedAt)],
      approvedText(one) ?? (one.rollback ? rollbackText(one.rollback) : workText(one)),
    ]),
  ]);
}

function listedPhase({ phase = '-', waiting, progress }: Listed): string {
  if (phase !== 'executing') return phase;
  if (waiting?.code === 'FROZEN') return `${phase} (frozen)`;
  // Before its first step it waits for its turn.
  const waits = waiting !== undefined || (progress?.index === 0 && progress.waitingFor !== undefined);
  return waits ? `${phase} (waits)` : phase;
}

function showCommand(program: Command): void {
  withFormat(withCluster(program.command('show')))
    .description('one package: where it stands, its plan and its votes')
    .argument('<id>', 'id of the package')
    .addHelpText('after', '\nExample:\n  byoc show 01JD0000000000000000000000 --cluster prod-eu-1')
    .action(async (id: string, options: Options) => {
      await withClient(options, async (client) => {
        const [view, plan] = await Promise.all([client.get(id), client.plan(id).catch(unlessSealed)]);
        const replaced = view.replans > 0 ? await client.replacedPlan(id) : undefined;
        printAs(options.output, { ...view, plan, ...(replaced && { replacedPlan: replaced }) }, () => [
          ...packageLines(view),
          ...(plan ? planLines(plan, replaced) : []),
        ]);
      });
    });
}

/** Where it stands is shown all the same, and says what is missing. */
function unlessSealed(error: unknown): undefined {
  if (!(error instanceof ConnectorError && error.code === 'PAYLOAD_SEALED')) throw error;
}

function watchCommand(program: Command): void {
  withFormat(withCluster(program.command('watch')))
    .description('follow one package to its end; exit 0 where it succeeds, 1 where it does not')
    .argument('<id>', 'id of the package')
    .addHelpText('after', '\nExample:\n  byoc watch 01JD0000000000000000000000 --cluster prod-eu-1')
    .action((id: string, options: Options) => withClient(options, (client) => follow(client, id, options)));
}

/** Tells every change on stderr and the end on stdout. */
async function follow(client: ConnectorClient, id: string, { output }: FormatOptions): Promise<void> {
  let told = '';
  let isAsked = false;
  let last: PackageView | undefined;
  const answered = sayUnlessSoon(`No worker of ${client.clusterId} has answered for it yet.`);
  for await (const view of client.watch(id)) {
    answered();
    last = view;
    const now = lineOf(printableIn(view));
    if (now !== told) say(now);
    if (view.phase === 'awaiting-approval' && !isAsked) {
      isAsked = true;
      say(`  Approve it with: ${BYOC} approve ${view.wpkId} --cluster ${client.clusterId}`);
    }
    told = now;
  }
  if (!last) return;
  const view = last;
  printAs(output, view, () => packageLines(view));
  if (isEnd(view.phase)) process.exitCode = exitCodeOf(view.phase);
}

/** One change of a package, the last one with what became of it afterwards. */
export function lineOf(view: PackageView): string {
  const asked = approvedText(view) ?? (view.phase === 'awaiting-approval' ? (view.requirement?.reason ?? '') : '');
  const what = workText(view) || asked || (view.rollback ? rollbackText(view.rollback) : '');
  return `${phaseText(view.phase)}${what ? `  ${what}` : ''}`;
}

function exitCodeOf(phase: EndPhase): number {
  return phase === 'succeeded' ? 0 : 1;
}

async function readSigned(file: string, bundleFile: string): Promise<SignedWpk> {
  const payload = await readInput(file);
  const bundle = await readInput(bundleFile).catch((error: unknown) => {
    throw bundleFile === bundleBeside(file) && isMissing(error) ? unsigned(file, bundleFile) : error;
  });
  return {
    payload: Buffer.from(payload).toString('base64'),
    bundle: parsedOrRaw(Buffer.from(bundle).toString('utf8')),
  };
}

function isMissing(error: unknown): boolean {
  if (!(error instanceof ConnectorError)) return false;
  return (error.cause as NodeJS.ErrnoException | undefined)?.code === 'ENOENT'; // of node:fs
}

function unsigned(file: string, bundleFile: string): ConnectorError {
  const sign = `cosign sign-blob --key KEY --bundle ${bundleFile} --use-signing-config=false --tlog-upload=false ${file}`;
  const what = `${bundleFile} does not exist: ${file} is not signed yet.`;
  return new ConnectorError('FILE_UNREADABLE', `${what} Sign it: ${sign} (in development: ${BYOC} dev sign ${file})`);
}

/** A bundle that is no JSON is sent as it is: the cluster refuses and audits it. */
function parsedOrRaw(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
