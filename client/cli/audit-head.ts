import type { Command } from 'commander';

import { createKubeApi } from '../../activities/kubernetes/kube-api.ts';
import type { HeadLease } from '../../activities/kubernetes/writer.ts';
import { createHeadLeases } from '../../activities/kubernetes/writer.ts';
import type { SignedHead } from '../../domain/audit-head.ts';
import { parseSignedHead } from '../../domain/audit-head.ts';
import { ConnectorError } from '../../domain/errors.ts';
import { checkHead, parseHeadKeys } from '../audit-keys.ts';
import { kubeConfigOf } from './kubeconfig.ts';
import { columns, print, printAs, say } from './output.ts';
import type { ClusterOptions, FormatOptions } from './settings.ts';
import { withCluster, withFormat } from './settings.ts';

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
      if (flags.publicKey) return printKeys(leases);
      const heads = leases.flatMap((lease) => headOf(lease) ?? []);
      printAs(flags.output, heads, () =>
        columns([
          ['CHAIN', 'NUMBER', 'HASH', 'SIGNED AT', 'KEY'],
          ...heads.map(({ head, keyId }) => [head.chain, String(head.seq), head.hash, head.time, keyId]),
        ]),
      );
    });
}

async function readLeases({ cluster, context }: Flags): Promise<HeadLease[]> {
  if (!cluster) throw new ConnectorError('USAGE', 'Say which cluster: --cluster ID, or BYOC_CLUSTER_ID.');
  const api = createKubeApi(await kubeConfigOf(context, process.env));
  try {
    const leases = await createHeadLeases(api).list(cluster);
    if (leases.length > 0) return leases;
  } finally {
    await api.close();
  }
  throw new ConnectorError('OBJECT_MISSING', `No writer of ${cluster} has published a head.`);
}

/** A head whose signature its own Lease's key does not bear out is shown to nobody as one. */
function headOf(lease: HeadLease): SignedHead | undefined {
  const signed = parseSignedHead(lease.head);
  const isGood = signed && checkHead(signed, parseHeadKeys(lease.publicKey, lease.name)) === 'good';
  if (isGood) return signed;
  say(`The Lease ${lease.name} holds no head that its key has signed.`);
  process.exitCode = 1;
  return undefined;
}

function printKeys(leases: readonly HeadLease[]): void {
  for (const key of new Set(leases.map(({ publicKey }) => publicKey.trim()))) print(key);
}
