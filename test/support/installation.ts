import { readFile } from 'node:fs/promises';
import { ulid } from 'ulid';
import { parse } from 'yaml';
import { z } from 'zod';
import type { Certificate } from '../../dev/authority.ts';
import { createAuthority } from '../../dev/authority.ts';
import type { ControlPlaneService } from '../../dev/servers/control-plane.ts';
import type { Services } from '../../dev/stack.ts';
import type { Role } from '../../domain/names.ts';
import { CHART, helm } from './chart.ts';
import { applyObjects, callKubernetes } from './kubernetes-admin.ts';
import type { Container } from './pod.ts';
import { containerOf } from './pod.ts';
import { until } from './until.ts';

export interface InstallationOptions {
  readonly clusterId: string;
  /** Where packages may write; it is there already. */
  readonly namespace: string;
  /** The policy file as YAML; the chart's own where it is left out. */
  readonly policy?: string;
  /** The control plane to register with. */
  readonly controlPlane?: ControlPlaneService;
  /** Settings of a worker that knows the logins for Vault (`prepareConnector`). */
  readonly env: Readonly<Record<string, string>>;
}

/** The chart, installed in the stack's API server with what a customer brings along, in namespaces of its own. */
export interface Installation {
  /** Name of the release. */
  readonly name: string;
  /** Where it is installed. */
  readonly namespace: string;
  readonly stateNamespace: string;
  readonly roles: readonly Role[];
  /** The authority of the certificate of port 8005, PEM. */
  readonly agentCa: string;
  /**
   * The container of a pod that the cluster's controllers have made, as its kubelet would start it.
   * @param index of the role's pods, which are on different nodes
   * @param folder for its volumes
   */
  container(role: Role, index: number, folder: string): Promise<Container>;
  setPolicy(yaml: string): Promise<void>;
  remove(): Promise<void>;
}

/**
 * Installs the chart as docs/install.md does: nothing but its defaults, and the values that say where things are. The
 * namespace of the release enforces pod security *restricted*.
 */
export async function install(services: Services, options: InstallationOptions): Promise<Installation> {
  const { controlPlane } = options;
  const id = ulid().toLowerCase();
  // Its name is that of its objects too: it says what the chart is called, and is short enough to be left as it is.
  const [name, namespace, stateNamespace] = [`connector-${id}`, `byoc-${id}`, `byoc-state-${id}`];
  const roles: Role[] = ['execution', ...(controlPlane ? (['registration'] as const) : [])];
  const authority = await createAuthority();
  const enforced = { 'pod-security.kubernetes.io/enforce': 'restricted' };
  await applyObjects(services, [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace, labels: enforced } },
    ...(await broughtAlong(services, options, roles, { ...(await authority.issue('agent')), ca: authority.ca })).map(
      (object) => ({
        ...object,
        metadata: { ...object.metadata, namespace },
      }),
    ),
  ]);
  const release = async (...args: string[]) => {
    const { code, stderr } = await helm([...args, '--namespace', namespace], {
      env: { KUBECONFIG: services.kubernetes.kubeconfig },
      values: valuesOf(services, options, roles, stateNamespace),
    });
    if (code !== 0) throw new Error(`helm ${args.join(' ')}: ${stderr}`);
  };
  await release('install', name, CHART);

  return {
    ...{ name, namespace, stateNamespace },
    roles,
    agentCa: authority.ca,
    async container(role, index, folder) {
      const labels = `app.kubernetes.io/instance=${name},app.kubernetes.io/component=${role}`;
      const pod = await until(`pod ${index} of ${role} to be scheduled`, async () => {
        const pods = await callKubernetes(services, 'get', 'pods', '-n', namespace, '-l', labels, '-o', 'json');
        const placed = podsSchema.parse(JSON.parse(pods)).items.filter(({ spec }) => spec.nodeName !== undefined);
        return placed.toSorted((a, b) => (a.spec.nodeName ?? '').localeCompare(b.spec.nodeName ?? ''))[index]?.metadata
          .name;
      });
      return containerOf(services, { namespace, name: pod }, folder);
    },
    async setPolicy(yaml) {
      const patch = JSON.stringify({ data: { 'policy.yaml': yaml } });
      await callKubernetes(
        services,
        'patch',
        'configmap',
        `${name}-policy`,
        '-n',
        namespace,
        '--type=merge',
        '-p',
        patch,
      );
    },
    async remove() {
      const { code, stderr } = await helm(['uninstall', name, '--namespace', namespace, '--no-hooks'], {
        env: { KUBECONFIG: services.kubernetes.kubeconfig },
      });
      if (code !== 0) throw new Error(`helm uninstall: ${stderr}`);
      await callKubernetes(services, 'delete', 'namespace', namespace, '--wait=false');
    },
  };
}

const podsSchema = z.object({
  items: z.array(
    z.object({ metadata: z.object({ name: z.string() }), spec: z.object({ nodeName: z.string().optional() }) }),
  ),
});

const SECRETS = { temporal: 'byoc-temporal', s3: 'byoc-s3', agent: 'byoc-agent-tls' } as const;
const AUTHORITIES = 'byoc-authorities';
const loginOf = (role: Role) => `byoc-vault-${role}`;

interface Brought {
  readonly metadata: { readonly name: string };
  readonly [field: string]: unknown;
}

/** What a customer makes before installing: Secrets, and a ConfigMap with the authorities. */
async function broughtAlong(
  { temporal, vault, s3 }: Services,
  { env, controlPlane }: InstallationOptions,
  roles: readonly Role[],
  agent: Certificate & { readonly ca: string },
): Promise<Brought[]> {
  const pem = (file: string) => readFile(file, 'utf8');
  const secret = (name: string, stringData: Readonly<Record<string, string>>) => ({
    ...{ apiVersion: 'v1', kind: 'Secret', metadata: { name } },
    stringData,
  });
  const authorities = {
    temporal: await pem(temporal.caFile),
    vault: await pem(vault.caFile),
    s3: await pem(s3.caFile),
    ...(controlPlane && { 'control-plane': await pem(controlPlane.caFile) }),
  };
  return [
    { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: AUTHORITIES }, data: authorities },
    secret(SECRETS.temporal, { 'tls.crt': await pem(temporal.certFile), 'tls.key': await pem(temporal.keyFile) }),
    secret(SECRETS.s3, { AWS_ACCESS_KEY_ID: s3.accessKeyId, AWS_SECRET_ACCESS_KEY: s3.secretAccessKey }),
    secret(SECRETS.agent, { 'tls.crt': agent.cert, 'tls.key': agent.key, 'ca.crt': agent.ca }),
    ...(await Promise.all(
      roles.map(async (role) => {
        const file = env[`VAULT_SECRET_ID_FILE_${role.toUpperCase()}`] ?? '';
        return secret(loginOf(role), { 'secret-id': await readFile(file, 'utf8') });
      }),
    )),
  ];
}

/** The values of an installation, beside the chart's defaults. */
function valuesOf(
  { temporal, vault, s3 }: Services,
  { clusterId, namespace, policy, controlPlane, env }: InstallationOptions,
  roles: readonly Role[],
  stateNamespace: string,
): Record<string, unknown> {
  const ca = (key: string) => ({ existingConfigMap: AUTHORITIES, key });
  const login = (role: Role) => ({
    vault: { roleId: env[`VAULT_ROLE_ID_${role.toUpperCase()}`], existingSecret: loginOf(role) },
  });
  const here = (address: string) => ({ cidrs: ['127.0.0.1/32'], ports: [Number(address.split(':').at(-1))] });
  return {
    clusterId,
    namespaces: [namespace],
    stateNamespace,
    ...(policy !== undefined && { policy: { document: parse(policy) as unknown } }),
    temporal: {
      ...{ address: temporal.address, namespace: temporal.namespace },
      tls: { existingSecret: SECRETS.temporal, ca: ca('temporal') },
    },
    vault: { address: vault.address, ca: ca('vault') },
    s3: {
      ...{ bucket: s3.bucket, region: s3.region, endpoint: s3.endpoint },
      ...{ existingSecret: SECRETS.s3, ca: ca('s3') },
    },
    ...(controlPlane && { controlPlane: { url: controlPlane.url, ca: ca('control-plane') } }),
    agent: { tls: { existingSecret: SECRETS.agent } },
    ...Object.fromEntries(roles.map((role) => [role, login(role)])),
    networkPolicy: {
      kubernetesApi: { cidrs: ['127.0.0.1/32'] },
      ...{ temporal: here(temporal.address), vault: here(vault.address), s3: here(s3.endpoint) },
      ...(controlPlane && { controlPlane: here(controlPlane.url) }),
    },
  };
}
