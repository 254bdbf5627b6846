import { Option } from 'commander';
import type { Command } from 'commander';
import { applyVaultSetup } from '../../activities/vault/setup.ts';
import type { SetupResult } from '../../activities/vault/setup.ts';
import { usableTlsFiles } from '../../activities/tls/usable-files.ts';
import { ConnectorError } from '../../domain/errors.ts';
import { CLUSTER_ID } from '../../domain/names.ts';
import { isEncryptedOrLocal } from '../../domain/encrypted-or-local.ts';
import { refuseUnverified } from '../../domain/tls-settings.ts';
import { ROLES, vaultNameOf, vaultSetup } from '../../domain/vault-setup.ts';
import { setupScript } from '../../domain/vault-setup-script.ts';
import { columns, paint, printAs, say } from './output.ts';
import type { ClusterOptions, FormatOptions } from './settings.ts';
import { withCluster, withFormat } from './settings.ts';

type SetupOptions = ClusterOptions & FormatOptions & { readonly apply?: true; readonly tool: 'vault' | 'bao' };

/** `byoc vault setup`: what a customer configures in Vault, printed or performed. */
export function registerVault(program: Command): void {
  const vault = program.command('vault').description('what the connector needs in Vault (or OpenBao)');
  withCluster(withFormat(vault.command('setup')))
    .description('print all that must be configured for a cluster, as commands to read and run; or do it with --apply')
    .option('--apply', 'do it, in the Vault of VAULT_ADDR with VAULT_TOKEN; what is as it should be is left alone')
    .addOption(new Option('--tool <name>', 'the command that is printed').choices(['vault', 'bao']).default('vault'))
    .addHelpText(
      'after',
      '\nExamples:\n  byoc vault setup --cluster prod-eu-1 > setup.sh\n  byoc vault setup --cluster prod-eu-1 --apply' +
        '\n\nVault is found as the vault command finds it: VAULT_ADDR, VAULT_TOKEN, VAULT_CACERT, VAULT_CLIENT_CERT,\nVAULT_CLIENT_KEY, VAULT_NAMESPACE.',
    )
    .action(async ({ cluster, output, apply, tool }: SetupOptions) => {
      const clusterId = toClusterId(cluster);
      const steps = vaultSetup(clusterId);
      if (!apply) return printAs(output, steps, () => setupScript(clusterId, steps, tool));
      const results: SetupResult[] = [];
      await applyVaultSetup(await adminOf(process.env), steps, (result) => results.push(result)).finally(() =>
        printAs(output, results, () => columns(results.map(({ outcome, path }) => [outcome, path])).map(painted)),
      );
      say(
        `Next, a secret_id for the pod of each role, such as: ${tool} write -f auth/approle/role/${vaultNameOf(clusterId, ROLES[0] ?? 'execution')}/secret-id`,
      );
    });
}

function painted(line: string): string {
  return line.startsWith('unchanged') ? paint('dim', line) : paint('green', line);
}

function toClusterId(cluster: string | undefined): string {
  if (cluster === undefined) throw new ConnectorError('USAGE', 'Say which cluster: --cluster ID, or BYOC_CLUSTER_ID.');
  // In a policy `*` and `/` would mean more than one cluster.
  if (!CLUSTER_ID.test(cluster)) throw new ConnectorError('USAGE', 'The name of a cluster is a DNS label.');
  return cluster;
}

async function adminOf(env: NodeJS.ProcessEnv) {
  refuseUnverified(env);
  const { VAULT_ADDR: address, VAULT_TOKEN: token, VAULT_NAMESPACE: namespace } = env;
  if (!address || !isEncryptedOrLocal(address)) {
    throw new ConnectorError('CONFIG_INVALID', 'VAULT_ADDR must be an https address, except on this machine.');
  }
  if (!token) throw new ConnectorError('CONFIG_INVALID', 'VAULT_TOKEN is missing.');
  return { address, token, tls: await usableTlsFiles(env, 'vault'), ...(namespace && { namespace }) };
}
