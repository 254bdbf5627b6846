import type { Services } from './stack.ts';

/** The settings with which our own commands, and the `temporal`, `vault`, `aws` and `kubectl` ones, find the stack. */
export function environmentOf({ temporal, vault, s3, kubernetes }: Services): Record<string, string> {
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
  };
}

/** Addresses, `export` lines to paste into a shell, and what to try next. */
export function describeStack(services: Services): string {
  const { temporal, vault, s3, kubernetes } = services;
  const addresses = [
    ['Temporal', `${temporal.address}   UI ${temporal.uiUrl}`],
    ['Vault', `${vault.address}   (OpenBao)`],
    ['S3', `${s3.endpoint}   bucket ${s3.bucket} (SeaweedFS)`],
    ['Kubernetes', `${kubernetes.server}   (no container runs: kwok plays the nodes)`],
  ] as const;
  return [
    ...addresses.map(([name, text]) => `${name.padEnd(11)} ${text}`),
    '',
    ...Object.entries(environmentOf(services)).map(([name, value]) => `export ${name}=${quote(value)}`),
    '',
    'Next:',
    `  ${quote(kubernetes.kubectl)} get nodes`,
    `  ${quote(temporal.bin)} workflow list`,
    '',
  ].join('\n');
}

/** One word for a POSIX shell. */
function quote(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
