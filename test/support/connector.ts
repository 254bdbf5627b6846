import { execFile } from 'node:child_process';
import { glob, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { ulid } from 'ulid';
import type { SubmittedPackage } from '../../client/connector-client.ts';
import { ConnectorClient } from '../../client/connector-client.ts';
import type { PackageView } from '../../client/package-view.ts';
import type { PayloadKeys } from '../../client/cli/payload-keys.ts';
import { openPayloadKeys } from '../../client/cli/payload-keys.ts';
import { prepareConnector, startWorker } from '../../dev/connector.ts';
import { environmentOf } from '../../dev/environment.ts';
import type { PreparedConnector } from '../../dev/connector.ts';
import type { Program } from '../../dev/process.ts';
import type { Services } from '../../dev/stack.ts';
import type { AuditEntry } from '../../domain/audit.ts';
import { ConnectorError } from '../../domain/errors.ts';
import type { PackageStatus } from '../../domain/status.ts';
import type { SignedWpk, Wpk } from '../../domain/wpk.ts';
import { buildWpk, sign } from './packages.ts';
import type { WpkOptions } from './packages.ts';
import { sharedServices } from './stack.ts';
import { until } from './until.ts';
import { callVault } from './vault.ts';
import { workflowBundle } from './workflow-bundle.ts';

/** How a command ended and what it said. */
export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface TestConnectorOptions {
  /** The stack to stand on; the shared one where it is left out. */
  readonly services?: Services;
  /** Whether it registers with the stack's control plane. */
  readonly linked?: boolean;
  /** The policy file as YAML; the development policy where it is left out. */
  readonly policy?: string;
  /** More or other settings of the worker. */
  readonly env?: Record<string, string>;
  /** Files in the connector's folder by name; a setting that is such a name is replaced by its path. */
  readonly files?: Record<string, string>;
  /** Whether payloads are encrypted; the client has the keys then. */
  readonly encrypted?: boolean;
}

/** A worker gives what it does 20 s to end. */
const DRAINED_WITHIN_MS = 30_000;

/** What a person waits for before voting. */
export interface WaitingPackage extends SubmittedPackage {
  readonly planDigest: string;
}

/**
 * A connector of a test file's own: cluster id, and with it task queue, keys in Vault and audit chain; a namespace in
 * the shared API server; and a worker that runs as a process, as it does in a pod.
 */
export class TestConnector {
  readonly services: Services;
  readonly prepared: PreparedConnector;
  readonly client: ConnectorClient;
  /** The namespace in the cluster that packages built by this connector touch. */
  readonly namespace: string;
  #worker: Program | undefined;

  readonly #keys: PayloadKeys | undefined;

  private constructor(
    services: Services,
    prepared: PreparedConnector,
    client: ConnectorClient,
    keys: PayloadKeys | undefined,
  ) {
    this.#keys = keys;
    this.services = services;
    this.prepared = prepared;
    this.client = client;
    this.namespace = prepared.clusterId;
  }

  /** Prepares everything and starts the worker. Stop it in `afterAll`. */
  static async start({
    services,
    linked,
    policy,
    env,
    files = {},
    encrypted = false,
  }: TestConnectorOptions = {}): Promise<TestConnector> {
    const stack = services ?? (await sharedServices());
    const folder = await mkdtemp(join(tmpdir(), 'byoc-connector-'));
    const clusterId = `test-${ulid().toLowerCase()}`;
    const prepared = await prepareConnector({
      services: stack,
      folder,
      clusterId,
      ...(linked && { controlPlane: stack.controlPlane }),
      ...(policy !== undefined && { policy }),
      env: {
        BYOC_WORKFLOW_BUNDLE: await workflowBundle({ encrypted }),
        ...(encrypted && ENCRYPTED),
        ...withPaths(env, folder, files),
      },
    });
    for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content);
    const keys = openPayloadKeys(clusterId, { ...environmentOf(stack), ...(encrypted && ENCRYPTED) });
    const client = await ConnectorClient.connect(clusterId, environmentOf(stack), keys?.converterFor);
    const connector = new TestConnector(stack, prepared, client, keys);
    await Promise.all([connector.kubectl('create', 'namespace', connector.namespace), connector.startWorker()]);
    return connector;
  }

  get clusterId(): string {
    return this.prepared.clusterId;
  }

  /** @param writer names the worker's audit chain; two that run at a time need different ones. @param env other settings */
  async startWorker(writer = 'worker-0', env: Record<string, string> = {}): Promise<void> {
    // The log is one over all starts; what makes this one ready must not be an older line.
    await rm(this.logFile, { force: true });
    this.#worker = await startWorker({ ...this.prepared, env: { ...this.prepared.env, ...env, BYOC_WRITER: writer } });
  }

  /** What a control plane has: Temporal, and no key. */
  keyless(): Promise<ConnectorClient> {
    return ConnectorClient.connect(this.clusterId, environmentOf(this.services));
  }

  /** Ends the worker at once, as a node that dies does. */
  async killWorker(): Promise<void> {
    await this.#worker?.kill();
  }

  /** Asks the worker to end, as a rollout does, and waits until it has drained. */
  async stopWorker(): Promise<void> {
    const worker = this.#worker;
    if (worker?.pid === undefined) return;
    process.kill(worker.pid, 'SIGTERM');
    await until('the worker to end', () => !worker.running, DRAINED_WITHIN_MS);
  }

  /** Lets the worker stand still, as a machine does that is suspended. */
  pauseWorker(): void {
    this.signalWorker('SIGSTOP');
  }

  continueWorker(): void {
    this.signalWorker('SIGCONT');
  }

  /** Of the process of the worker that runs. */
  get workerPid(): number {
    const pid = this.#worker?.running ? this.#worker.pid : undefined;
    if (pid === undefined) throw new Error('the worker does not run');
    return pid;
  }

  /** What the worker that runs, or ran last, has logged. */
  async log(): Promise<Record<string, unknown>[]> {
    return jsonLines(await readFile(this.logFile, 'utf8'));
  }

  /** A good package for this cluster and its namespace. */
  wpk(options: WpkOptions = {}): Wpk {
    return buildWpk({ clusterId: this.clusterId, namespaces: [this.namespace], ...options });
  }

  signed(options: WpkOptions = {}): SignedWpk {
    return sign(this.wpk(options), this.prepared.privateKeyPem);
  }

  submit(options: WpkOptions = {}): Promise<SubmittedPackage> {
    return this.client.submit(this.signed(options));
  }

  /** Submits a package and resolves when its plan waits for people. */
  async submitAndPlan(options: WpkOptions = {}): Promise<WaitingPackage> {
    return this.untilWaiting(await this.submit(options));
  }

  /** Resolves when another plan than the first waits for people. */
  untilReplanned({ wpkId }: SubmittedPackage): Promise<PackageView & WaitingPackage> {
    return until('the new plan', async () => {
      const view = await this.client.get(wpkId);
      const { replans, phase, planDigest } = view;
      return replans === 1 && phase === 'awaiting-approval' && planDigest && { ...view, planDigest };
    });
  }

  async untilWaiting(submitted: SubmittedPackage): Promise<WaitingPackage> {
    const planDigest = await until(`${submitted.wpkId} to wait for approval`, async () => {
      const { phase, planDigest } = await this.client.get(submitted.wpkId);
      return phase === 'awaiting-approval' ? planDigest : undefined;
    });
    return { ...submitted, planDigest };
  }

  /** Waits until the package is seen to wait: what Temporal lists lags behind what is. */
  async untilListed(wpkId: string): Promise<void> {
    await until(`${wpkId} to be listed`, async () => {
      const listed = await this.client.list();
      return listed.some((one) => one.wpkId === wpkId && one.phase === 'awaiting-approval');
    });
  }

  /** Waits until a package is as it is asked for. */
  untilView(wpkId: string, test: (view: PackageView) => boolean): Promise<PackageView> {
    return until(`${wpkId} to come that far`, async () => {
      const view = await this.client.get(wpkId);
      return test(view) && view;
    });
  }

  /** Waits for a status, also while no worker answers: whoever kills workers gives it the time. */
  untilStatus(
    what: string,
    { wpkId }: SubmittedPackage,
    test: (status: PackageStatus) => boolean,
    timeoutMs: number,
  ): Promise<PackageStatus> {
    return until(
      `${what} of ${wpkId}`,
      async () => {
        try {
          const status = await this.client.get(wpkId);
          return test(status) && status;
        } catch (error) {
          if (error instanceof ConnectorError && error.traits.retryable) return undefined;
          throw error;
        }
      },
      timeoutMs,
    );
  }

  /** Sends a signal to a package, as the `temporal` command does. */
  async signal(workflowId: string, name: string, argument: unknown): Promise<void> {
    await this.client.client.workflow.getHandle(workflowId).signal(name, argument);
  }

  async setPolicy(yaml: string): Promise<void> {
    await writeFile(this.prepared.policyPath, yaml);
  }

  /** Writes what the cluster's entry in the stack's Vault says, such as `signing-keys/development`. */
  async putVaultEntry(entry: string, data: object): Promise<void> {
    await callVault(this.services.vault, 'POST', `secret/data/byoc/${this.clusterId}/${entry}`, { data });
  }

  /** All audit entries in the order of the log, or those of one run. */
  async audit({ workflowId }: { workflowId?: string } = {}): Promise<AuditEntry[]> {
    const files: string[] = [];
    for await (const file of glob(join(this.prepared.auditDir, '*', '*.jsonl'))) files.push(file);
    const texts = await Promise.all(files.sort().map((file) => readFile(file, 'utf8')));
    const entries = texts.flatMap(jsonLines).map(({ entry }) => entry as AuditEntry); // as the log's own tests check
    return workflowId === undefined ? entries : entries.filter((entry) => entry.workflowId === workflowId);
  }

  /** Runs kubectl as an administrator; resolves to its stdout and rejects where it fails. */
  async kubectl(...args: string[]): Promise<string> {
    return succeeded(await this.run(this.services.kubernetes.kubectl, args));
  }

  /** Keeps a file in the connector's folder; resolves to its path. */
  async save(name: string, content: string | Uint8Array): Promise<string> {
    const file = join(this.prepared.folder, name);
    await writeFile(file, content);
    return file;
  }

  /** An object as the API server has it, or undefined. */
  async read(kind: string, name: string): Promise<Record<string, unknown> | undefined> {
    const text = await this.kubectl('get', kind, name, '-n', this.namespace, '-o', 'json', '--ignore-not-found');
    return text === '' ? undefined : (JSON.parse(text) as Record<string, unknown>);
  }

  /** The data of a ConfigMap of the connector's namespace, or undefined. */
  async dataOf(name: string): Promise<unknown> {
    const found = await this.read('configmap', name);
    return found && (found['data'] ?? {}); // one without data is there all the same
  }

  /** Runs the `temporal` command; resolves to its stdout and rejects where it fails. */
  async temporal(...args: string[]): Promise<string> {
    return succeeded(await this.run(this.services.temporal.bin, args));
  }

  /** Runs a shell line as an approver would, with `temporal` on the PATH. */
  shell(line: string, more: Record<string, string> = {}): Promise<CommandResult> {
    return this.run('/bin/sh', ['-c', line], more);
  }

  /** Runs the `byoc` command for this cluster. */
  byoc(...args: string[]): Promise<CommandResult> {
    return this.run(process.execPath, [BYOC, ...args]);
  }

  /** The same with other settings. */
  byocWith(env: Record<string, string>, ...args: string[]): Promise<CommandResult> {
    return this.run(process.execPath, [BYOC, ...args], env);
  }

  /** Stops the worker and removes what the connector made. */
  async stop(): Promise<void> {
    await this.#worker?.stop();
    await this.client.close();
    await this.#keys?.close();
    await this.kubectl('delete', 'namespace', this.namespace, '--wait=false').catch(() => undefined); // it may be down
    await rm(this.prepared.folder, { recursive: true, force: true });
  }

  private signalWorker(signal: NodeJS.Signals): void {
    if (this.#worker?.pid !== undefined) process.kill(this.#worker.pid, signal);
  }

  private get logFile(): string {
    return join(this.prepared.folder, 'worker.log');
  }

  private run(command: string, args: readonly string[], more: Record<string, string> = {}): Promise<CommandResult> {
    const env = {
      ...environmentOf(this.services),
      BYOC_PAYLOAD_CODEC: this.prepared.env['BYOC_PAYLOAD_CODEC'] ?? 'off',
      BYOC_CLUSTER_ID: this.clusterId,
      PATH: `${dirname(this.services.temporal.bin)}:/usr/bin:/bin`,
      HOME: this.prepared.folder,
      ...more,
    };
    return new Promise((resolve) => {
      const child = execFile(command, args, { env, maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
        const code = typeof error?.code === 'number' ? error.code : error ? -1 : 0;
        resolve({ code, stdout, stderr });
      });
      child.stdin?.end(); // nobody is there to answer a question
    });
  }
}

function withPaths(env: Record<string, string> = {}, folder: string, files: Record<string, string>) {
  const entries = Object.entries(env).map(([name, value]) => [name, value in files ? join(folder, value) : value]);
  return Object.fromEntries(entries) as Record<string, string>; // as it was given
}

const ENCRYPTED = { BYOC_PAYLOAD_CODEC: 'vault' } as const;

const BYOC = join(import.meta.dirname, '../../client/cli/main.ts');

function jsonLines(text: string): Record<string, unknown>[] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

function succeeded({ code, stdout, stderr }: CommandResult): string {
  if (code !== 0) throw new Error(`exit code ${code}: ${stderr}`);
  return stdout;
}
