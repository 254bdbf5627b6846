import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePorts } from '../../dev/ports.ts';
import { Program, untilHealthy } from '../../dev/process.ts';
import { findProgram } from '../../dev/programs.ts';
import { devSettings } from '../../dev/settings.ts';
import type { KubernetesService } from '../../dev/servers/kubernetes.ts';
import { until } from './until.ts';

/** The way from a worker to the API server through toxiproxy, which can hold every answer back. */
export class SlowNetwork {
  /** A kubeconfig whose requests go this way. */
  readonly kubeconfig: string;
  readonly #folder: string;
  readonly #program: Program;
  readonly #api: string;
  readonly #port: number;

  private constructor(folder: string, program: Program, api: string, port: number) {
    this.#folder = folder;
    this.#port = port;
    this.#program = program;
    this.#api = api;
    this.kubeconfig = join(folder, 'kubeconfig');
  }

  static async start({ server, kubeconfig }: KubernetesService): Promise<SlowNetwork> {
    const command = await findProgram('toxiproxy', {
      settings: devSettings(process.env),
      onProgress: () => undefined,
      signal: undefined,
    });
    const folder = await mkdtemp(join(tmpdir(), 'byoc-network-'));
    const { control, proxy } = await freePorts(['control', 'proxy']);
    const program = new Program({
      name: 'toxiproxy',
      command,
      args: ['-host', '127.0.0.1', '-port', String(control)],
      env: {},
      logFile: join(folder, 'toxiproxy.log'),
    });
    const api = `http://127.0.0.1:${control}`;
    await untilHealthy(program, async () => (await fetch(`${api}/version`)).ok, { timeoutMs: 10_000 });
    const network = new SlowNetwork(folder, program, api, proxy);
    await network.#send('POST', '/proxies', {
      name: 'api',
      listen: `127.0.0.1:${proxy}`,
      upstream: new URL(server).host,
    });
    // TLS passes through: the certificate is for 127.0.0.1, whatever the port.
    const text = await readFile(kubeconfig, 'utf8');
    await writeFile(network.kubeconfig, text.replace(server, `https://127.0.0.1:${proxy}`), { mode: 0o600 });
    return network;
  }

  /** The settings of a worker that goes this way, as a pod or from outside. */
  settings(isPod: boolean): Record<string, string> {
    return isPod ? { KUBERNETES_SERVICE_PORT: String(this.#port) } : { KUBECONFIG: this.kubeconfig };
  }

  /** From now on each answer arrives late; requests arrive at once. */
  async holdAnswers(latencyMs: number): Promise<void> {
    const attributes = { latency: latencyMs, jitter: 0 };
    await this.#send('POST', '/proxies/api/toxics', {
      name: 'hold',
      type: 'latency',
      stream: 'downstream',
      attributes,
    });
  }

  /** toxiproxy may be busy for seconds with connections whose other end was killed. */
  async letAnswersThrough(): Promise<void> {
    await until('the answers to come through', async () => {
      const { status } = await fetch(`${this.#api}/proxies/api/toxics/hold`, { method: 'DELETE' });
      return status < 300 || status === 404;
    });
  }

  /** Breaks every connection and takes no new one. */
  async cut(): Promise<void> {
    await this.#send('POST', '/proxies/api', { enabled: false });
  }

  async join(): Promise<void> {
    await this.#send('POST', '/proxies/api', { enabled: true });
  }

  async stop(): Promise<void> {
    await this.#program.kill();
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #send(method: string, path: string, body?: object): Promise<void> {
    const response = await fetch(`${this.#api}${path}`, { method, ...(body && { body: JSON.stringify(body) }) });
    if (!response.ok) throw new Error(`toxiproxy answered ${response.status}: ${await response.text()}`);
  }
}
