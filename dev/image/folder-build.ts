import { createHash } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { existsSync, realpathSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readdir, readFile, rename, rm, symlink } from 'node:fs/promises';
import { dirname, join, posix } from 'node:path';
import { run } from '../process.ts';
import { PROJECT } from './commit.ts';
import type { Instruction, Stage } from './containerfile.ts';
import { parseContainerfile, substitute } from './containerfile.ts';
import { contextOf } from './context.ts';
import type { Bind } from './sandbox.ts';
import { launchIn } from './sandbox.ts';

/** An image as a folder. */
export interface FolderImage {
  /** What the last stage adds to its base. */
  readonly root: string;
  readonly env: Readonly<Record<string, string>>;
  readonly user: { readonly uid: number; readonly gid: number };
  readonly entrypoint: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
}

export interface FolderBuildOptions {
  /** Where the stages are made, a folder each. */
  readonly folder: string;
  /** The checkout that is built; this one where it is left out. */
  readonly project?: string;
  /** Build arguments, as an engine takes them. */
  readonly args: Readonly<Record<string, string>>;
  /** Where the result of `npm ci` is kept, which takes longest, for the next build of the same lock file. */
  readonly cacheDir: string;
  readonly onStep?: (step: string) => void;
}

interface StageState {
  readonly root: string;
  readonly args: Record<string, string>;
  readonly env: Record<string, string>;
  readonly labels: Record<string, string>;
  cwd: string;
  user: string;
  entrypoint: readonly string[];
  /** Digest of all that the stage was made from so far. */
  key: string;
}

/**
 * Carries out the steps of the Containerfile without a container engine. What an engine would take from the base images
 * comes from this machine: the system's programs and libraries, npm, and the Node.js that runs this.
 */
export async function buildIntoFolder(options: FolderBuildOptions): Promise<FolderImage> {
  const { folder, project = PROJECT, args, onStep = () => undefined } = options;
  const file = parseContainerfile(await readFile(join(project, 'Containerfile'), 'utf8'));
  const context = await contextOf(project);
  const roots = new Map<string, string>();
  let last: StageState | undefined;
  for (const stage of file.stages) {
    const root = join(folder, stage.name);
    roots.set(stage.name, root);
    await rm(root, { recursive: true, force: true });
    await mkdir(root, { recursive: true });
    last = begin(root, stage);
    for (const instruction of stage.instructions) {
      onStep(`${stage.name}: ${describe(instruction)}`);
      await carryOut(instruction, last, { project, context, roots, given: args, cacheDir: options.cacheDir });
      last.key = digest(last.key, JSON.stringify(instruction));
    }
  }
  if (!last) throw new Error('The Containerfile has no stage.');
  const [uid = NaN, gid = NaN] = last.user.split(':').map(Number);
  const { root, env, entrypoint, labels } = last;
  return { root, env, user: { uid, gid }, entrypoint, labels };
}

function begin(root: string, { base }: Stage): StageState {
  return { root, args: {}, env: {}, labels: {}, cwd: '/', user: 'root', entrypoint: [], key: digest(base) };
}

interface Surroundings {
  readonly project: string;
  readonly context: readonly string[];
  readonly roots: ReadonlyMap<string, string>;
  readonly given: Readonly<Record<string, string>>;
  readonly cacheDir: string;
}

async function carryOut(instruction: Instruction, state: StageState, around: Surroundings): Promise<void> {
  const valued = (text: string) => substitute(text, { ...state.args, ...state.env });
  switch (instruction.kind) {
    case 'arg':
      state.args[instruction.name] = around.given[instruction.name] ?? valued(instruction.preset ?? '');
      return;
    case 'env':
      state.env[instruction.name] = valued(instruction.value);
      return;
    case 'label':
      state.labels[instruction.name] = valued(instruction.value);
      return;
    case 'workdir':
      state.cwd = posix.resolve(state.cwd, instruction.value);
      await mkdir(join(state.root, state.cwd), { recursive: true });
      return;
    case 'user':
      state.user = instruction.value;
      return;
    case 'expose':
      return;
    case 'entrypoint':
      state.entrypoint = instruction.command;
      return;
    case 'copy':
      return copy(instruction, state, around);
    case 'run':
      return runStep(instruction.command, state, around.cacheDir);
  }
}

async function copy(
  { from, sources, to }: Extract<Instruction, { kind: 'copy' }>,
  state: StageState,
  { project, context, roots }: Surroundings,
): Promise<void> {
  const target = join(state.root, posix.resolve(state.cwd, to));
  if (from !== undefined) {
    const root = roots.get(from);
    if (root === undefined) throw new Error(`There is no stage ${from} to copy from.`);
    for (const source of sources) await copyFolder(join(root, source), target);
    return;
  }
  const wanted = context.filter((path) => sources.includes('.') || sources.includes(path));
  for (const path of wanted) {
    await mkdir(dirname(join(target, path)), { recursive: true });
    await cp(join(project, path), join(target, path));
    state.key = digest(state.key, path, await readFile(join(project, path)));
  }
}

/** What is in a folder, with modes and times, those of folders and links too, as an engine copies between stages. */
async function copyFolder(from: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true });
  await run('cp', ['-a', `${from}/.`, to], { env: process.env });
}

/** Of what a step that failed printed. */
const LAST_LINES = 40;

/** Where the tools are that an engine would find in the base image. */
const TOOLS = '/opt/tools';

async function runStep(command: string, state: StageState, cacheDir: string): Promise<void> {
  const isInstall = command.startsWith('npm ci ');
  const kept = join(cacheDir, 'image-layers', digest(state.key, command).slice(0, 32));
  const folder = join(state.root, state.cwd);
  if (isInstall && existsSync(kept)) return copyFolder(kept, folder);
  const npm = npmFolder();
  await mkdir(join(state.root, TOOLS, 'bin'), { recursive: true });
  await mkdir(join(state.root, 'tmp'), { recursive: true });
  const link = join(state.root, TOOLS, 'bin', 'npm');
  if (!existsSync(dirname(link)) || !(await readdir(dirname(link))).includes('npm')) {
    await symlink(`${TOOLS}/npm/bin/npm-cli.js`, link);
  }
  const binds: Bind[] = [
    ...['/usr', '/bin', '/sbin', '/lib', '/lib64', '/etc', '/proc'].filter(existsSync).map(same),
    { from: '/dev', to: '/dev', writable: true },
    { from: process.execPath, to: `${TOOLS}/bin/node` },
    { from: npm, to: `${TOOLS}/npm` },
  ];
  // How npm gets to its registry is this machine's affair, as it is an engine's.
  const registry = registrySettings();
  const launch = await launchIn({
    root: state.root,
    binds: [...binds, ...registry.binds],
    env: { ...registry.env, PATH: `${TOOLS}/bin:/usr/bin:/bin`, HOME: '/tmp', ...state.args, ...state.env },
    // What it prints is for whoever looks for the cause, wherever it prints it.
    command: ['/bin/sh', '-ec', `exec 1>&2; cd '${state.cwd}'; ${command}`],
  });
  const said: string[] = [];
  try {
    await run(launch.command, launch.args, { env: launch.env, onLine: (line) => void said.push(line) });
  } catch (cause) {
    throw new Error(`RUN ${command}\n${said.slice(-LAST_LINES).join('\n')}`, { cause });
  }
  if (isInstall) await keep(folder, kept);
}

function npmFolder(): string {
  try {
    const program = execFileSync('/bin/sh', ['-c', 'command -v npm'], { encoding: 'utf8' }).trim();
    return dirname(dirname(realpathSync(program)));
  } catch (cause) {
    throw new Error('npm is not on the PATH.', { cause });
  }
}

const same = (path: string): Bind => ({ from: path, to: path });

function registrySettings(): { readonly env: Record<string, string>; readonly binds: readonly Bind[] } {
  const passed = /^(npm_config_registry|https?_proxy|no_proxy)$/i;
  const env = Object.fromEntries(
    Object.entries(process.env).filter((entry): entry is [string, string] => passed.test(entry[0]) && !!entry[1]),
  );
  const binds: Bind[] = [];
  const userConfig = join(process.env['HOME'] ?? '/root', '.npmrc');
  if (existsSync(userConfig)) {
    binds.push({ from: userConfig, to: `${TOOLS}/npmrc` });
    env['NPM_CONFIG_USERCONFIG'] = `${TOOLS}/npmrc`;
  }
  const authorities = process.env['NODE_EXTRA_CA_CERTS'];
  if (authorities) {
    binds.push({ from: authorities, to: `${TOOLS}/authorities.pem` });
    env['NODE_EXTRA_CA_CERTS'] = `${TOOLS}/authorities.pem`;
  }
  return { env, binds };
}

/** Only the newest is kept; it appears by one rename, complete. */
async function keep(folder: string, kept: string): Promise<void> {
  await mkdir(dirname(kept), { recursive: true });
  const fresh = await mkdtemp(`${kept}.new-`);
  await copyFolder(folder, fresh);
  for (const old of await readdir(dirname(kept))) {
    if (join(dirname(kept), old) !== fresh) await rm(join(dirname(kept), old), { recursive: true, force: true });
  }
  await rename(fresh, kept);
}

function digest(...parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(createHash('sha256').update(part).digest());
  return hash.digest('hex');
}

function describe(instruction: Instruction): string {
  switch (instruction.kind) {
    case 'run':
      return `RUN ${instruction.command}`;
    case 'copy':
      return `COPY ${instruction.sources.join(' ')} ${instruction.to}`;
    default:
      return instruction.kind.toUpperCase();
  }
}
