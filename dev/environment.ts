import type { Services } from './stack.ts';

/** The name that packages for the embedded cluster are addressed to. */
export const DEV_CLUSTER = 'dev';

/** Where a shell is told the stack's folder, so that `byoc dev` finds it from everywhere. */
export const STATE_VARIABLE = 'BYOC_DEV_STATE';

/** What a connector stands on; its cluster may be another than the stack's. */
export type ConnectorServices = Omit<Services, 'kubernetes' | 'controlPlane'> & {
  readonly kubernetes: Pick<Services['kubernetes'], 'kubeconfig'>;
};

/** The settings with which our own commands, and the `temporal`, `vault`, `aws` and `kubectl` ones, find the stack. */
export function environmentOf({ temporal, vault, s3, kubernetes }: ConnectorServices): Record<string, string> {
  return {
    ...temporalSettings(temporal),
    VAULT_ADDR: vault.address,
    VAULT_CACERT: vault.caFile,
    VAULT_TOKEN: vault.token,
    S3_BUCKET: s3.bucket,
    AWS_ENDPOINT_URL_S3: s3.endpoint,
    AWS_CA_BUNDLE: s3.caFile,
    AWS_REGION: s3.region,
    AWS_ACCESS_KEY_ID: s3.accessKeyId,
    AWS_SECRET_ACCESS_KEY: s3.secretAccessKey,
    KUBECONFIG: kubernetes.kubeconfig,
    BYOC_CLUSTER_ID: DEV_CLUSTER,
  };
}

/** As every Temporal client reads them. */
export function temporalSettings(temporal: Services['temporal']): Record<string, string> {
  return {
    TEMPORAL_ADDRESS: temporal.address,
    TEMPORAL_NAMESPACE: temporal.namespace,
    TEMPORAL_TLS_SERVER_CA_CERT_PATH: temporal.caFile,
    TEMPORAL_TLS_CLIENT_CERT_PATH: temporal.certFile,
    TEMPORAL_TLS_CLIENT_KEY_PATH: temporal.keyFile,
  };
}
