import { join } from 'node:path';
import { isMap, parseDocument, stringify } from 'yaml';
import type { PreparedConnector } from '../../dev/connector.ts';
import type { ControlPlaneService } from '../../dev/servers/control-plane.ts';
import type { Services } from '../../dev/stack.ts';
import type { Role } from '../../domain/names.ts';
import type { Installation } from './installation.ts';
import { install } from './installation.ts';
import { onThisMachine } from './pod.ts';

export interface PodsOptions {
  /** What the chart is installed for: keys and logins are in Vault. */
  readonly prepared: PreparedConnector;
  readonly policy: string | undefined;
  readonly controlPlane?: ControlPlaneService;
  /** The test's own settings: what it is about, and the bundle of workflows that all tests share. */
  readonly env: Readonly<Record<string, string>>;
}

/** Two processes on one machine cannot have one port, as two pods can. */
const ON_ONE_MACHINE = { BYOC_AGENT_PORT: '0', BYOC_AGENT_HOST: '127.0.0.1' };

/** The chart's pods as processes of this machine: their variables, files and accounts are those of pods in the API server. */
export class Pods {
  readonly installation: Installation;
  readonly #options: PodsOptions;
  /** Whose name was asked for first has the first pod. */
  readonly #writers: string[] = [];

  private constructor(installation: Installation, options: PodsOptions) {
    this.installation = installation;
    this.#options = options;
  }

  static async install(services: Services, options: PodsOptions): Promise<Pods> {
    const { prepared, policy, controlPlane } = options;
    const { clusterId, env } = prepared;
    const installation = await install(services, {
      ...{ clusterId, env, namespace: clusterId },
      ...(policy !== undefined && { policy: signedOnly(policy) }),
      ...(controlPlane && { controlPlane }),
    });
    return new Pods(installation, options);
  }

  /** Where a role's process of a writer runs, with all of its settings. */
  async prepare(role: Role, writer: string, env: Readonly<Record<string, string>> = {}): Promise<PreparedConnector> {
    if (!this.#writers.includes(writer)) this.#writers.push(writer);
    const { prepared } = this.#options;
    const folder = join(prepared.folder, 'pods', `${role}-${writer}`);
    const index = role === 'execution' ? this.#writers.indexOf(writer) : 0;
    const container = await this.installation.container(role, index, folder);
    const settings = onThisMachine(container);
    return {
      ...prepared,
      folder,
      auditDir: join(settings['BYOC_DATA_DIR'] ?? '', 'audit'),
      policyPath: settings['BYOC_POLICY'] ?? '',
      env: {
        ...settings,
        BYOC_ROLES: role,
        BYOC_WRITER: role === 'execution' ? writer : role,
        ...ON_ONE_MACHINE,
        ...this.#options.env,
        ...env,
      },
    };
  }

  /** The same for each role. */
  prepareAll(writer: string, env: Readonly<Record<string, string>>): Promise<PreparedConnector[]> {
    return Promise.all(this.installation.roles.map((role) => this.prepare(role, writer, env)));
  }

  /** Changes the ConfigMap that pods mount; a kubelet would bring the file up to date within a minute or two. */
  setPolicy(yaml: string): Promise<void> {
    return this.installation.setPolicy(yaml);
  }

  async remove(): Promise<void> {
    await this.installation.remove();
  }
}

/** A policy of a test with what the chart has by default: a vote that is not signed does not count. One that is none stays so. */
export function signedOnly(policy: string): string {
  const { errors, contents } = parseDocument(policy);
  if (errors.length > 0 || !isMap(contents)) return policy;
  const document = contents.toJSON() as { readonly approvals?: object };
  return stringify({ ...document, approvals: { ...document.approvals, acceptAsserted: false } });
}
