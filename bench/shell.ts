import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { signWpk } from '../client/sign.ts';
import type { Stack } from '../dev/stack.ts';
import type { Change } from './changes.ts';
import type { Contestant } from './interleave.ts';

/** Where commands run that a user would take instead. */
export interface Shell {
  readonly env: Record<string, string>;
  /** Their files. */
  readonly folder: string;
}

/** A shell that signs and verifies, too. */
export interface Toolbox extends Shell {
  readonly cosign: string;
  readonly privateKeyPem: string;
  readonly publicKeyPath: string;
}

/** A shell with `kubectl`. */
export async function openShell(stack: Stack, env: NodeJS.ProcessEnv): Promise<Shell> {
  const folder = join(stack.stateDir, 'shell');
  await mkdir(folder, { recursive: true });
  const { kubectl, kubeconfig } = stack.kubernetes;
  const path = [dirname(kubectl), env['PATH'] ?? '/usr/bin:/bin'].join(':');
  // A home of its own: kubectl keeps what it learned of the API server there, warm as a user's is.
  return { env: { PATH: path, HOME: folder, KUBECONFIG: kubeconfig }, folder };
}

/** @param keys the pair that signs the files of the shell's side, as it signs the packages of ours */
export async function openToolbox(
  stack: Stack,
  env: NodeJS.ProcessEnv,
  keys: { readonly privateKeyPem: string; readonly publicKeyPem: string },
): Promise<Toolbox> {
  const shell = await openShell(stack, env);
  const publicKeyPath = join(shell.folder, 'cosign.pub');
  await writeFile(publicKeyPath, keys.publicKeyPem);
  const cosign = await stack.tool('cosign');
  const own = { ...shell.env, PATH: `${dirname(cosign)}:${shell.env['PATH']}` };
  return { ...shell, cosign, env: own, privateKeyPem: keys.privateKeyPem, publicKeyPath };
}

/** `kubectl diff` ends with 1 where there are differences, which is no failure. */
const DIFF_AND_APPLY = '{ kubectl diff --server-side -f "$F" || [ $? -eq 1 ]; } && kubectl apply --server-side -f "$F"';
const VERIFY = 'cosign verify-blob --key "$KEY" --bundle "$F.sigstore.json" --insecure-ignore-tlog "$F"';

/** Times looking alone, at files that differ from what is in the cluster. */
export function kubectlDiff(name: string, shell: Shell, change: Change): Contestant {
  return {
    name,
    async prepare(round) {
      const file = await writeManifests(shell, change, round);
      return () => run(shell, ['sh', '-c', 'kubectl diff --server-side -f "$F"; [ $? -eq 1 ]'], { F: file });
    },
  };
}

/** Brings the objects of a change into the cluster, for one manager of fields. */
export async function kubectlApply(shell: Shell, change: Change, round: number, fieldManager: string): Promise<void> {
  const file = await writeManifests(shell, change, round);
  await run(shell, ['kubectl', 'apply', '--server-side', '--field-manager', fieldManager, '-f', file], {});
}

/** Times applying alone. */
export function kubectlApplying(name: string, shell: Shell, change: Change): Contestant {
  return {
    name,
    async prepare(round) {
      const file = await writeManifests(shell, change, round);
      return () => run(shell, ['kubectl', 'apply', '--server-side', '-f', file], {});
    },
  };
}

/** Times the whole pipeline as a user would write it: verify, look, apply, note down. */
export function shellPipeline(name: string, tools: Toolbox, change: Change): Contestant {
  return shellChange(name, tools, change, `${VERIFY} && ${DIFF_AND_APPLY} && sha256sum "$F" >> "$LOG"`);
}

/** Times looking and applying alone. */
export function kubectlDiffAndApply(name: string, tools: Toolbox, change: Change): Contestant {
  return shellChange(name, tools, change, DIFF_AND_APPLY);
}

function shellChange(name: string, tools: Toolbox, change: Change, script: string): Contestant {
  return {
    name,
    async prepare(round) {
      const file = await writeSigned(tools, `${change.namespace}.yaml`, Buffer.from(change.manifests(round)));
      return () =>
        run(tools, ['sh', '-c', script], { F: file, KEY: tools.publicKeyPath, LOG: join(tools.folder, 'log') });
    },
  };
}

/** Times `cosign verify-blob` on a file with these bytes. */
export function cosignVerify(name: string, tools: Toolbox, bytes: Uint8Array): Contestant {
  return {
    name,
    async prepare() {
      const file = await writeSigned(tools, `${bytes.length}.bin`, bytes);
      const flags = ['--key', tools.publicKeyPath, '--bundle', `${file}.sigstore.json`, '--insecure-ignore-tlog'];
      return () => run(tools, [tools.cosign, 'verify-blob', ...flags, file], {});
    },
  };
}

async function writeManifests({ folder }: Shell, change: Change, round: number): Promise<string> {
  const file = join(folder, `${change.namespace}.yaml`);
  await writeFile(file, change.manifests(round));
  return file;
}

async function writeSigned({ folder, privateKeyPem }: Toolbox, name: string, bytes: Uint8Array): Promise<string> {
  const file = join(folder, name);
  await writeFile(file, bytes);
  await writeFile(`${file}.sigstore.json`, JSON.stringify(signWpk(bytes, privateKeyPem)));
  return file;
}

/** Resolves when the command has succeeded; what it prints goes nowhere, as fast as that is. */
async function run(shell: Shell, [command = '', ...args]: string[], more: Record<string, string>): Promise<void> {
  const child = spawn(command, args, { env: { ...shell.env, ...more }, stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`${args.join(' ')} ended with ${code}: ${said.trim()}`);
}
