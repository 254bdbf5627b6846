import { userInfo } from 'node:os';
import { Option } from 'commander';
import type { Command } from 'commander';
import { ConnectorError } from '../../domain/errors.ts';
import { STATE_NAMESPACE } from '../../domain/names.ts';
import type { ConnectorClient } from '../connector-client.ts';
import { printable } from '../../domain/printable.ts';
import { isSimulated } from '../../domain/simulation.ts';
import type { Format } from './output.ts';
import { BYOC, markSimulated, say, sayUnlessSoon } from './output.ts';

/** Options that several commands share. */
export interface ClusterOptions {
  readonly cluster?: string;
}

export interface FormatOptions {
  readonly output: Format;
}

export function withCluster(command: Command): Command {
  return command.addOption(new Option('--cluster <id>', 'the cluster, as packages name it').env('BYOC_CLUSTER_ID'));
}

export function withFormat(command: Command): Command {
  return command.addOption(
    new Option('-o, --output <format>', 'how data is printed').choices(['table', 'json', 'yaml']).default('table'),
  );
}

/** Who runs this. In a container a user may be a number that has no name. */
export function systemUser(): string {
  try {
    return userInfo().username;
  } catch {
    return `uid-${process.getuid?.() ?? 'unknown'}`;
  }
}

/** Who says something, where the command does not name it. */
export function defaultIdentity(): string {
  return process.env['BYOC_APPROVER'] ?? systemUser();
}

/** Where the connector of the cluster keeps its state, as its own settings say. */
export function stateNamespace(): string {
  return process.env['BYOC_STATE_NAMESPACE'] || STATE_NAMESPACE;
}

/** Where its processes publish their audit heads. */
export function headsNamespace(): string {
  return process.env['BYOC_HEADS_NAMESPACE'] || stateNamespace();
}

/** @throws {ConnectorError} USAGE */
export function clusterOf({ cluster }: ClusterOptions): string {
  if (!cluster) throw new ConnectorError('USAGE', 'Say which cluster: --cluster ID, or BYOC_CLUSTER_ID.');
  markSimulated(isSimulated(cluster));
  return cluster;
}

export interface ConnectOptions {
  /**
   * False for what must not wait for Vault: then what the command sends is not encrypted, and of what the cluster encrypts
   * only what Temporal itself knows is told. Misspelt settings go unmentioned.
   */
  readonly withKeys?: boolean;
}

/** Connects, does the work and closes, whatever happens. */
export async function withClient<T>(
  options: ClusterOptions,
  work: (client: ConnectorClient) => Promise<T>,
  { withKeys = true }: ConnectOptions = {},
): Promise<T> {
  const clusterId = clusterOf(options);
  // Loaded here, because whoever freezes a cluster must not wait for it.
  const { ConnectorClient } = await import('../connector-client.ts');
  if (withKeys) await tellUnknownSettings();
  const isEncrypted = withKeys && !['', 'off'].includes(process.env['BYOC_PAYLOAD_CODEC'] ?? '');
  const keys = isEncrypted ? await openKeys(clusterId) : undefined;
  try {
    const client = await connectedSoon(ConnectorClient.connect(clusterId, process.env, keys?.converterFor));
    try {
      return await work(client);
    } catch (error) {
      throw withWhereAsked(error, clusterId);
    } finally {
      await client.close();
    }
  } finally {
    await keys?.close();
  }
}

/** @throws {ConnectorError} CONFIG_INVALID for what would leave in clear what was to be encrypted */
export async function tellUnknownSettings(): Promise<void> {
  const { unknownSettings } = await import('../../worker/settings/unknown.ts');
  for (const { says, exposes } of unknownSettings(process.env)) {
    if (exposes) throw new ConnectorError('CONFIG_INVALID', `${says} Nothing was done.`);
    say(printable(says));
  }
}

/** Temporal's client tries for 10 s before it gives up; nobody should look at nothing meanwhile. */
async function connectedSoon(connecting: Promise<ConnectorClient>): Promise<ConnectorClient> {
  const answered = sayUnlessSoon('Temporal has not answered yet.');
  try {
    return await connecting;
  } finally {
    answered();
  }
}

/** An id that is not found is often one of another cluster: says which was asked. */
export function withWhereAsked(error: unknown, clusterId: string): unknown {
  if (!(error instanceof ConnectorError && error.code === 'WPK_NOT_FOUND')) return error;
  const what = `The cluster ${clusterId} has none with the id ${error.detail}.`;
  const detail = `${what} See what it has: ${BYOC} list --cluster ${clusterId}`;
  return new ConnectorError('WPK_NOT_FOUND', detail, { cause: error });
}

async function openKeys(clusterId: string) {
  const [{ openPayloadKeys }, { usableTlsFiles }] = await Promise.all([
    import('./payload-keys.ts'),
    import('../../activities/tls/usable-files.ts'),
  ]);
  await usableTlsFiles(process.env, 'vault');
  return openPayloadKeys(clusterId, process.env);
}
