import type { Command } from 'commander';

import { createKubeApi } from '../../activities/kubernetes/kube-api.ts';
import { kubeConfigOf } from '../../activities/kubernetes/kubeconfig.ts';
import type { HeadLease } from '../../activities/kubernetes/writer.ts';
import { createHeadLeases } from '../../activities/kubernetes/writer.ts';
import type { SignedHead } from '../../domain/audit-head.ts';
import { parseSignedHead } from '../../domain/audit-head.ts';
import { ConnectorError } from '../../domain/errors.ts';
import { isSimulated } from '../../domain/simulation.ts';
import { checkHead, parseHeadKeys } from '../audit-keys.ts';
import { columns, markSimulated, print, printAs, say } from './output.ts';
import type { ClusterOptions, FormatOptions } from './settings.ts';
import { headsNamespace, withCluster, withFormat } from './settings.ts';

type Flags = ClusterOptions & FormatOptions & { readonly publicKey?: boolean; readonly context?: string };

export function registerAuditHead(audit: Command): void {
  withFormat(withCluster(audit.command('head')))
    .description('where the chains of a cluster end now, as their writers sign it in the cluster')
    .option('--public-key', 'print the public key that heads are signed with, to keep and to give to auditors')
    .option('--context <name>', 'of the kubeconfig')
    .addHelpText(
      'after',
      '\nExamples:\n  byoc audit head --cluster prod-eu-1 --public-key > audit.pub' +
        '\n  byoc audit head --cluster prod-eu-1 -o json > heads.json' +
        '\n  byoc audit verify --key audit.pub --head heads.json ./audit' +
        '\n\nKeep both where the cluster cannot reach them: whoever rewrites the log must not be able to rewrite them.',
    )
    .action(async (flags: Flags) => {
      const leases = await readLeases(flags);
      markSimulated(leases.some(({ clusterId }) => isSimulated(clusterId)));
      if (flags.publicKey) return printKeys(leases);
      const heads = leases.flatMap((lease) => headOf(lease) ?? []);
      const table = () =>
        columns([
          ['CHAIN', 'NUMBER', 'HASH', 'SIGNED AT', 'KEY'],
          ...heads.map(({ head, keyId }) => [head.chain, String(head.seq), head.hash, head.time, keyId]),
        ]);
      // As data they are what verify --head takes.
      printAs(flags.output, heads, table, flags.output === 'table' ? undefined : 'all');
    });
}

async function readLeases({ cluster, context }: Flags): Promise<HeadLease[]> {
  if (!cluster) throw new ConnectorError('USAGE', 'Say which cluster: --cluster ID, or BYOC_CLUSTER_ID.');
  const api = createKubeApi(await kubeConfigOf(context, process.env));
  const namespace = headsNamespace();
  try {
    const leases = await createHeadLeases(api, namespace).list(cluster);
    if (leases.length > 0) return leases;
  } finally {
    await api.close();
  }
  throw new ConnectorError(
    'CONFIG_INVALID',
    `No writer of ${cluster} has published a head in the namespace ${namespace}. Check --cluster and --context; a chart's are in the namespace of its release: set BYOC_HEADS_NAMESPACE.`,
  );
}

/** A head whose signature its own Lease's key does not bear out is shown to nobody as one. */
function headOf(lease: HeadLease): SignedHead | undefined {
  const signed = parseSignedHead(lease.head);
  if (signed && isSignedBy(signed, lease)) return signed;
  say(`The Lease ${lease.name} holds no head that its key has signed.`);
  process.exitCode = 1;
  return undefined;
}

function isSignedBy(signed: SignedHead, { publicKey, name }: HeadLease): boolean {
  try {
    return checkHead(signed, parseHeadKeys(publicKey, name)) === 'good';
  } catch {
    return false; // the Lease holds no key; what is in others is still to be shown
  }
}

/** Only keys by which a head is signed; and there is one in a cluster, unless it was replaced or somebody added theirs. */
function printKeys(leases: readonly HeadLease[]): void {
  const keys = new Map<string, string[]>();
  for (const lease of leases) {
    if (!headOf(lease)) continue;
    const key = lease.publicKey.trim();
    keys.set(key, [...(keys.get(key) ?? []), lease.name]);
  }
  for (const key of keys.keys()) print(key);
  if (keys.size < 2) return;
  say(`These Leases are not signed with one key but with ${keys.size}; keep only those that you can account for:`);
  for (const [key, names] of keys) {
    const [id = ''] = parseHeadKeys(key, 'the key').keys();
    say(`  ${id}  ${names.join(', ')}`);
  }
  say('The entry worker.started says which key each worker signed with (headKey).');
}
