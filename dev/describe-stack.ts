import { BYOC, columns } from '../client/cli/output.ts';
import { DEV_CLUSTER } from './connector.ts';
import type { Services } from './stack.ts';

/** What a connector stands on; its cluster may be another than the stack's. */
export type ConnectorServices = Omit<Services, 'kubernetes'> & {
  readonly kubernetes: Pick<Services['kubernetes'], 'kubeconfig'>;
};

/** The settings with which our own commands, and the `temporal`, `vault`, `aws` and `kubectl` ones, find the stack. */
export function environmentOf({ temporal, vault, s3, kubernetes }: ConnectorServices): Record<string, string> {
  return {
    TEMPORAL_ADDRESS: temporal.address,
    TEMPORAL_NAMESPACE: temporal.namespace,
    VAULT_ADDR: vault.address,
    VAULT_TOKEN: vault.token,
    S3_BUCKET: s3.bucket,
    AWS_ENDPOINT_URL_S3: s3.endpoint,
    AWS_REGION: s3.region,
    AWS_ACCESS_KEY_ID: s3.accessKeyId,
    AWS_SECRET_ACCESS_KEY: s3.secretAccessKey,
    KUBECONFIG: kubernetes.kubeconfig,
    BYOC_CLUSTER_ID: DEV_CLUSTER,
  };
}

/** Where the parts are, and what to try next. */
export function describeStack({ temporal, vault, s3, kubernetes }: Services): string[] {
  return [
    ...columns([
      ['Temporal', temporal.address, `UI ${temporal.uiUrl}`],
      ['Vault', vault.address, '(OpenBao)'],
      ['S3', s3.endpoint, `bucket ${s3.bucket} (SeaweedFS)`],
      ['Kubernetes', kubernetes.server, '(no container runs: kwok plays the nodes)'],
    ]),
    '',
    'Next:',
    `  eval "$(${BYOC} dev env)"   # lets byoc, temporal, vault, aws and kubectl find the stack`,
    `  ${BYOC} --help`,
    `  ${BYOC} dev down`,
  ];
}

/** Lines for a shell that let every command find the stack. They hold its secrets, which are of development only. */
export function exportLines(services: Services): string[] {
  return Object.entries(environmentOf(services)).map(([name, value]) => `export ${name}=${quote(value)}`);
}

/** One word for a POSIX shell. */
function quote(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
