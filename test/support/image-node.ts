import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { FolderImage } from '../../dev/image/folder-build.ts';
import { launchContainer } from '../../dev/image/run.ts';
import type { Launch } from '../../dev/image/sandbox.ts';
import { Program } from '../../dev/process.ts';
import type { Services } from '../../dev/stack.ts';
import { callKubernetes } from './kubernetes-admin.ts';
import type { Container, PodName } from './pod.ts';
import { containerOf } from './pod.ts';
import type { Ran } from './tools.ts';
import { runTool } from './tools.ts';
import { until } from './until.ts';

export interface ImageNodeOptions {
  readonly services: Pick<Services, 'kubernetes'>;
  readonly image: FolderImage;
  /** Where volumes and logs are. */
  readonly folder: string;
  /** Names that the cluster's DNS would answer; all are the pod that runs. */
  readonly names: readonly string[];
  /** Of the pod, 127.x.y.z: a network plugin would give it one, and so port 8005 is its own. */
  readonly address: string;
}

const READY_WITHIN_MS = 60_000;
/** A worker gives what it does 20 s to end. */
const DRAINED_WITHIN_MS = 30_000;

const podsSchema = z.object({
  items: z.array(
    z.object({
      metadata: z.object({ name: z.string(), deletionTimestamp: z.string().optional() }),
      spec: z.object({ nodeName: z.string().optional() }),
    }),
  ),
});

/**
 * A node as far as its kubelet goes: it starts the containers of pods that the real scheduler has put there, from the image,
 * with exactly what the API server says of the pod. What a network plugin does is missing: each has this machine's network, and
 * so is told the address that it listens on.
 */
export class ImageNode {
  readonly #options: ImageNodeOptions;
  /** A program that runs a command in the running pod, as `kubectl exec` does; it waits for the pod. */
  readonly exec: string;
  #running: { readonly name: string; readonly program: Program } | undefined;

  private constructor(options: ImageNodeOptions) {
    this.#options = options;
    this.exec = join(options.folder, 'exec');
  }

  static async open(options: ImageNodeOptions): Promise<ImageNode> {
    const node = new ImageNode(options);
    await mkdir(options.folder, { recursive: true });
    await writeFile(node.#hosts, `127.0.0.1 localhost\n${options.address} ${options.names.join(' ')}\n`);
    const wait = `while [ ! -e '${node.#entered}' ]; do sleep 0.2; done`;
    await writeFile(node.exec, `#!/bin/sh\n${wait}\n. '${node.#entered}'\n`, { mode: 0o755 });
    return node;
  }

  /** Pods with these labels that are to stay, by node. */
  async pods(namespace: string, labels: string): Promise<PodName[]> {
    const { services } = this.#options;
    const list = await callKubernetes(services, 'get', 'pods', '-n', namespace, '-l', labels, '-o', 'json');
    return podsSchema
      .parse(JSON.parse(list))
      .items.filter(({ metadata, spec }) => spec.nodeName !== undefined && metadata.deletionTimestamp === undefined)
      .toSorted((a, b) => (a.spec.nodeName ?? '').localeCompare(b.spec.nodeName ?? ''))
      .map(({ metadata }) => ({ namespace, name: metadata.name }));
  }

  /** What a pod's container is started with. */
  async container(pod: PodName): Promise<Container> {
    const { services, folder, address } = this.#options;
    const container = await containerOf(services, pod, join(folder, pod.name));
    return { ...container, env: { ...container.env, BYOC_AGENT_HOST: address } };
  }

  /** Starts the container of a pod; resolves when the worker in it is ready. */
  async start(pod: PodName): Promise<Container> {
    const container = await this.container(pod);
    const logFile = join(this.#options.folder, `${pod.name}.log`);
    const program = new Program({ name: pod.name, ...(await this.#launch(container)), logFile });
    this.#running = { name: pod.name, program };
    await until(
      `${pod.name} to be ready`,
      () => {
        if (!program.running) throw new Error(program.describeEnd());
        return program.output().includes('"message":"ready"');
      },
      READY_WITHIN_MS,
    );
    await this.#open(program, container);
    return container;
  }

  /** Runs a container to its end, and resolves to how it ended. */
  async run(container: Container): Promise<Ran> {
    const { command, args, env } = await this.#launch(container);
    return runTool(command, args, env);
  }

  /** Lets the container drain, as a kubelet does when its pod is deleted; resolves to what it has logged. */
  async drain(): Promise<string> {
    await rm(this.#entered, { force: true });
    const program = this.#running?.program;
    if (program?.running !== true || program.pid === undefined) throw new Error('No container runs.');
    process.kill(program.pid, 'SIGTERM');
    await until('the container to end', () => !program.running, DRAINED_WITHIN_MS);
    return program.output();
  }

  /** Name of the pod whose container runs, or ran last. */
  get current(): string | undefined {
    return this.#running?.name;
  }

  async stop(): Promise<void> {
    await this.#running?.program.stop();
  }

  #launch({ command, args, env, mounts }: Container): Promise<Launch> {
    const { image } = this.#options;
    const hosts = { from: this.#hosts, to: '/etc/hosts' };
    return launchContainer({
      ...{ image, args, env, mounts: [...mounts, hosts] },
      ...(command.length > 0 && { command }),
    });
  }

  /** Lets commands into the container: in its file system, as its user, with its variables. */
  async #open({ pid }: Program, { env }: Container): Promise<void> {
    const { image } = this.#options;
    const { uid, gid } = image.user;
    const variables = Object.entries({ ...image.env, ...env }).map(([name, value]) => `'${name}=${value}'`);
    const enter = `/usr/bin/nsenter --target ${pid} --mount --root --wd --setuid ${uid} --setgid ${gid} -- "$@"`;
    const fresh = `${this.#entered}.new`;
    await writeFile(fresh, `exec /usr/bin/env -i ${variables.join(' ')} ${enter}\n`);
    await rename(fresh, this.#entered);
  }

  get #hosts(): string {
    return join(this.#options.folder, 'hosts');
  }

  /** There while a container runs that is ready. */
  get #entered(): string {
    return join(this.#options.folder, 'enter.sh');
  }
}
