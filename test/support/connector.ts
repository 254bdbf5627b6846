import { execFile } from 'node:child_process';
import { glob, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { dirname, join } from 'node:path';
import { ulid } from 'ulid';
import type { SubmittedPackage } from '../../client/connector-client.ts';
import { ConnectorClient } from '../../client/connector-client.ts';
import type { PackageView } from '../../client/package-view.ts';
import type { PayloadKeys } from '../../client/cli/payload-keys.ts';
import { openPayloadKeys } from '../../client/cli/payload-keys.ts';
import { DEV_APPROVER, prepareConnector, startWorker } from '../../dev/connector.ts';
import { environmentOf } from '../../dev/environment.ts';
import type { PreparedConnector } from '../../dev/connector.ts';
import type { Program } from '../../dev/process.ts';
import type { Services } from '../../dev/stack.ts';
import type { AuditEntry } from '../../domain/audit.ts';
import { ConnectorError } from '../../domain/errors.ts';
import { STATE_NAMESPACE } from '../../domain/names.ts';
import type { PackageStatus } from '../../domain/status.ts';
import type { Approve, Reject } from '../../domain/approvals.ts';
import type { SignedWpk, Wpk } from '../../domain/wpk.ts';
import { buildWpk, sign } from './packages.ts';
import type { WpkOptions } from './packages.ts';
import { callKubernetes } from './kubernetes-admin.ts';
import type { Installation } from './installation.ts';
import { Pods, signedOnly } from './pods.ts';
import { sharedServices, TEST_CLOTHES } from './stack.ts';
import type { SlowNetwork } from './slow-network.ts';
import { until } from './until.ts';
import { callVault } from './vault.ts';
import { SigningClient, trustedVoters } from './voters.ts';
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
  /** The way from the worker to the API server, where it is not straight. */
  readonly through?: SlowNetwork;
  /** More or other settings of the worker. */
  readonly env?: Record<string, string>;
  /** Files in the connector's folder by name; a setting that is such a name is replaced by its path. */
  readonly files?: Record<string, string>;
  /** Whether payloads are encrypted; the client has the keys then. As the clothes have it where it is left out. */
  readonly encrypted?: boolean;
  readonly clothes?: Clothes;
  /** Who votes beside the development approver; where votes must be signed, they get keys. */
  readonly voters?: readonly string[];
}

/**
 * `production`: the chart is installed in the stack's API server, each role is a process with the variables, the files and
 * the account of a pod that it makes there, payloads are encrypted, and votes count where they are signed. `development`:
 * one process, as `byoc dev up` has it. What test/run.ts says for the layer where it is left out.
 */
export type Clothes = 'production' | 'development';

export const CLOTHES: Clothes = process.env[TEST_CLOTHES] === 'production' ? 'production' : 'development';

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
  readonly #folder: string;
  readonly #pods: Pods | undefined;
  readonly #keys: PayloadKeys | undefined;
  /** What runs, or ran last; execution is the first. */
  #processes: readonly PreparedConnector[] = [];
  #workers: readonly Program[] = [];

  private constructor({ services, prepared, folder, client, keys, pods }: Parts) {
    this.#folder = folder;
    this.#keys = keys;
    this.#pods = pods;
    this.services = services;
    this.prepared = prepared;
    this.client = client;
    this.namespace = prepared.clusterId;
  }

  /** Prepares everything and starts the worker. Stop it in `afterAll`. */
  static async start({
    services,
    linked = false,
    policy,
    through,
    env,
    files = {},
    clothes = CLOTHES,
    encrypted = clothes === 'production',
    voters = [],
  }: TestConnectorOptions = {}): Promise<TestConnector> {
    const stack = services ?? (await sharedServices());
    const folder = await mkdtemp(join(tmpdir(), 'byoc-connector-'));
    const clusterId = `test-${ulid().toLowerCase()}`;
    const controlPlane = linked ? { controlPlane: stack.controlPlane } : {};
    const own = {
      BYOC_WORKFLOW_BUNDLE: await workflowBundle({ encrypted }),
      ...through?.settings(clothes === 'production'),
      ...withPaths(env, folder, files),
    };
    const [developed] = await Promise.all([
      prepareConnector({
        ...{ services: stack, folder, clusterId },
        ...controlPlane,
        ...(policy !== undefined && { policy }),
        env: { ...(encrypted && ENCRYPTED), ...own },
      }),
      callKubernetes(stack, 'create', 'namespace', clusterId),
    ]);
    for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content);
    const pods =
      clothes === 'production'
        ? await Pods.install(stack, { prepared: developed, policy, env: own, ...controlPlane })
        : undefined;
    const prepared = (await pods?.prepare('execution', FIRST_WRITER)) ?? developed;
    const keys = openPayloadKeys(clusterId, { ...environmentOf(stack), ...(encrypted && ENCRYPTED) });
    const connected = await ConnectorClient.connect(clusterId, environmentOf(stack), keys?.converterFor);
    const client = pods ? new SigningClient(connected, await trustedVoters(stack, developed, voters)) : connected;
    const connector = new TestConnector({ services: stack, prepared, folder, client, keys, pods });
    await connector.startWorker();
    return connector;
  }

  /** Of claims, locks, the freeze, audit heads and keys. */
  get stateNamespace(): string {
    return this.#pods?.installation.stateNamespace ?? STATE_NAMESPACE;
  }

  /** Of the Leases with audit heads. */
  get headsNamespace(): string {
    return this.#pods?.installation.namespace ?? STATE_NAMESPACE;
  }

  get clusterId(): string {
    return this.prepared.clusterId;
  }

  /** How far it is proven who voted. */
  get proof(): 'verified' | 'asserted' {
    return this.#pods ? 'verified' : 'asserted';
  }

  /** Where the chart is installed, in production's clothes. */
  get installation(): Installation {
    if (!this.#pods) throw new Error('The chart is installed in production’s clothes alone.');
    return this.#pods.installation;
  }

  /** @param writer names the worker's audit chain; two that run at a time need different ones. @param env other settings */
  async startWorker(writer = FIRST_WRITER, env: Record<string, string> = {}): Promise<void> {
    const developed = { ...this.prepared, env: { ...this.prepared.env, ...env, BYOC_WRITER: writer } };
    this.#processes = (await this.#pods?.prepareAll(writer, env)) ?? [developed];
    this.#workers = await Promise.all(
      this.#processes.map(async (one) => {
        // The log is one over all starts; what makes this one ready must not be an older line.
        await rm(logFileOf(one), { force: true });
        return startWorker(one);
      }),
    );
  }

  /** What a control plane has: Temporal, and no key. */
  keyless(): Promise<ConnectorClient> {
    return ConnectorClient.connect(this.clusterId, environmentOf(this.services));
  }

  /** Ends the worker at once, as a node that dies does. */
  async killWorker(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.kill()));
  }

  /** Asks the worker to end, as a rollout does, and waits until it has drained. */
  async stopWorker(): Promise<void> {
    const workers = this.#workers; // others may be started while these drain
    this.signalWorker('SIGTERM');
    await until('the worker to end', () => !workers.some(({ running }) => running), DRAINED_WITHIN_MS);
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
    const [worker] = this.#workers;
    const pid = worker?.running ? worker.pid : undefined;
    if (pid === undefined) throw new Error('the worker does not run');
    return pid;
  }

  /** What the worker that runs, or ran last, has logged. */
  async log(): Promise<Record<string, unknown>[]> {
    const texts = await Promise.all(this.#processes.map((one) => readFile(logFileOf(one), 'utf8')));
    return texts.flatMap(jsonLines);
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

  /** @param timeoutMs longer where workers are killed meanwhile */
  async untilWaiting(submitted: SubmittedPackage, timeoutMs?: number): Promise<WaitingPackage> {
    const { client } = this;
    const isWaiting = ({ phase }: PackageStatus) => phase === 'awaiting-approval';
    const { planDigest } = await this.untilStatus('the plan', submitted, isWaiting, timeoutMs);
    if (planDigest === undefined) throw new Error(`${submitted.wpkId} waits without a plan`);
    if (client instanceof SigningClient) {
      await untilAnswered('the plan again', () => client.rememberPlan(submitted.wpkId), timeoutMs);
    }
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
    timeoutMs?: number,
  ): Promise<PackageStatus> {
    return untilAnswered(
      `${what} of ${wpkId}`,
      async () => {
        const status = await this.client.get(wpkId);
        return test(status) && status;
      },
      timeoutMs,
    );
  }

  /** Sends a signal to a package, as the `temporal` command does. */
  async signal(workflowId: string, name: string, argument: unknown): Promise<void> {
    await this.client.client.workflow.getHandle(workflowId).signal(name, argument);
  }

  /** Votes as the Temporal UI and the `temporal` command do, and waits for no answer; signed where no other vote counts. */
  async signalApproval(workflowId: string, vote: Approve): Promise<void> {
    const { client } = this;
    const argument = client instanceof SigningClient ? await client.signedApproval(wpkIdOf(workflowId), vote) : vote;
    await this.signal(workflowId, 'approve', argument);
  }

  /** The same with a no. */
  async signalRejection(workflowId: string, vote: Reject): Promise<void> {
    const { client } = this;
    const argument = client instanceof SigningClient ? await client.signedRejection(wpkIdOf(workflowId), vote) : vote;
    await this.signal(workflowId, 'reject', argument);
  }

  /** Stops a package whose activity has failed, at the moment at which Temporal gives it out again, or a little earlier. */
  async stopAtNextAttempt({ wpkId, workflowId }: SubmittedPackage, earlyMs: number): Promise<void> {
    const at = await until('another attempt', async () => {
      const { raw } = await this.client.client.workflow.getHandle(workflowId).describe();
      const { seconds, nanos } = raw.pendingActivities?.[0]?.nextAttemptScheduleTime ?? {};
      const next = Number(seconds ?? 0) * 1_000 + Number(nanos ?? 0) / 1e6;
      return next > Date.now() + 100 && next;
    });
    await sleep(at - Date.now() - earlyMs);
    await this.client.stop(wpkId);
  }

  async setPolicy(yaml: string): Promise<void> {
    const policy = this.#pods ? signedOnly(yaml) : yaml;
    await this.#pods?.setPolicy(policy);
    await writeFile(this.prepared.policyPath, policy);
  }

  /** Writes what the cluster's entry in the stack's Vault says, such as `signing-keys/development`. */
  async putVaultEntry(entry: string, data: object): Promise<void> {
    await callVault(this.services.vault, 'POST', `secret/data/byoc/${this.clusterId}/${entry}`, { data });
  }

  /** All audit entries in the order of the log, or those of one run. */
  async audit({ workflowId }: { workflowId?: string } = {}): Promise<AuditEntry[]> {
    const files: string[] = [];
    for await (const file of glob(join(this.#folder, AUDIT_LOGS))) files.push(file);
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
    const file = join(this.#folder, name);
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

  /** Has a package rolled back with the development approver's signature. */
  rollback(wpkId: string): Promise<CommandResult> {
    return this.byoc('rollback', wpkId, '--as', DEV_APPROVER.identity, '--key', this.prepared.approverKeyPath);
  }

  /** The same with other settings. */
  byocWith(env: Record<string, string>, ...args: string[]): Promise<CommandResult> {
    return this.run(process.execPath, [BYOC, ...args], env);
  }

  /** Stops the worker and removes what the connector made. */
  async stop(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.stop()));
    await this.client.close();
    await this.#keys?.close();
    await this.#pods?.remove().catch(() => undefined); // the API server may be down
    await this.kubectl('delete', 'namespace', this.namespace, '--wait=false').catch(() => undefined);
    await rm(this.#folder, { recursive: true, force: true });
  }

  private signalWorker(signal: NodeJS.Signals): void {
    for (const { running, pid } of this.#workers) if (running && pid !== undefined) process.kill(pid, signal);
  }

  private run(command: string, args: readonly string[], more: Record<string, string> = {}): Promise<CommandResult> {
    const env = {
      ...environmentOf(this.services),
      BYOC_PAYLOAD_CODEC: this.prepared.env['BYOC_PAYLOAD_CODEC'] ?? 'off',
      BYOC_CLUSTER_ID: this.clusterId,
      PATH: `${dirname(this.services.temporal.bin)}:/usr/bin:/bin`,
      HOME: this.#folder,
      BYOC_STATE_NAMESPACE: this.stateNamespace,
      BYOC_HEADS_NAMESPACE: this.headsNamespace,
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

/** What a connector is made of. */
interface Parts {
  readonly services: Services;
  readonly prepared: PreparedConnector;
  readonly folder: string;
  readonly client: ConnectorClient;
  readonly keys: PayloadKeys | undefined;
  readonly pods: Pods | undefined;
}

/** As `until`, where it may be that nobody answers for a while. */
function untilAnswered<T>(what: string, ask: () => Promise<T | undefined | false>, timeoutMs?: number): Promise<T> {
  const answer = async () => {
    try {
      return await ask();
    } catch (error) {
      if (error instanceof ConnectorError && error.traits.retryable) return undefined;
      throw error;
    }
  };
  return until(what, answer, timeoutMs);
}

function wpkIdOf(workflowId: string): string {
  return workflowId.slice(workflowId.lastIndexOf('/') + 1);
}

const FIRST_WRITER = 'worker-0';

/** Of one process, or of a pod for each writer and role. */
const AUDIT_LOGS = '{,pods/*/}data/audit/*/*.jsonl';

function logFileOf({ folder }: PreparedConnector): string {
  return join(folder, 'worker.log');
}

const ENCRYPTED = { BYOC_PAYLOAD_CODEC: 'vault' } as const;

const BYOC = join(import.meta.dirname, '../../client/cli/main.ts');

function jsonLines(text: string): Record<string, unknown>[] {
  return text
    .slice(0, text.lastIndexOf('\n') + 1) // without a line that is still being written
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

function succeeded({ code, stdout, stderr }: CommandResult): string {
  if (code !== 0) throw new Error(`exit code ${code}: ${stderr}`);
  return stdout;
}
