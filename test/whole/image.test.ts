import { chmod, copyFile, mkdir, mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { SourceMap } from 'node:module';
import type { SourceMapPayload } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Agent, request } from 'undici';
import { listAt } from '../../activities/kubernetes/kube-object.ts';
import { createAuthority } from '../../dev/authority.ts';
import type { Authority } from '../../dev/authority.ts';
import { PROJECT } from '../../dev/image/commit.ts';
import { contextOf } from '../../dev/image/context.ts';
import { buildIntoFolder } from '../../dev/image/folder-build.ts';
import type { FolderImage } from '../../dev/image/folder-build.ts';
import { launchImage } from '../../dev/image/run.ts';
import { canIsolate } from '../../dev/image/sandbox.ts';
import { treeDigest } from '../../dev/image/tree-digest.ts';
import { Program } from '../../dev/process.ts';
import { devSettings } from '../../dev/settings.ts';
import { render } from '../support/chart.ts';
import { TestConnector } from '../support/connector.ts';
import { BUILD_ARGS, BUILD_TIMEOUT_MS, EPOCH, folderImage } from '../support/folder-image.ts';
import { runTool } from '../support/tools.ts';
import { until } from '../support/until.ts';

// R22: what the image holds and how it runs, without a container engine: the steps of the Containerfile are carried out into a
// folder, and its entry point is started there. For the base images stand this machine's C library and Node.js.

/** Where the worker listens on port 8005, as the chart has it; nobody else's. */
const ADDRESS = '127.0.0.8';
/** Stands for the cluster's DNS. */
const RESOLVER = `import dns from 'node:dns';
dns.lookup = (name, { all }, done) => (all ? done(null, [{ address: '${ADDRESS}', family: 4 }]) : done(null, '${ADDRESS}', 4));`;
const RESOLVES = `--import=data:text/javascript,${encodeURIComponent(RESOLVER)}`;
const ENDS = ['succeeded', 'failed', 'denied', 'rejected', 'expired', 'stopped', 'rolled-back'];

// Mounts and another user are root's to make.
const isolated = canIsolate();
const described = isolated ? describe : describe.skip;

described(`the image${isolated ? '' : ' (skipped: needs root, unshare and setpriv)'}`, () => {
  let folder: string;
  let image: FolderImage;
  const { cacheDir } = devSettings(process.env);

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'byoc-image-'));
    image = await folderImage();
  }, BUILD_TIMEOUT_MS);
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('holds what runs and nothing that builds or tests, no key, and one time for all files', async () => {
    const top = await readdir(join(image.root, 'app'));
    expect(top.sort()).toEqual(['LICENSE', 'bin', 'dist', 'node_modules', 'package.json', 'sbom.cdx.json']);
    const packages = await readdir(join(image.root, 'app/node_modules'));
    expect(packages).toEqual(expect.arrayContaining(['@temporalio', 'zod']));
    for (const name of ['typescript', 'jest', 'eslint', 'node', 'prettier']) expect(packages).not.toContain(name);
    const cores = await readdir(join(image.root, 'app/node_modules/@temporalio/core-bridge/releases'));
    expect(cores).toHaveLength(1);
    for (const file of [
      'app/dist/worker/main.js',
      'app/dist/workflow-bundle.js',
      'app/sbom.cdx.json',
      'app/node_modules/zod/package.json',
    ]) {
      expect((await stat(join(image.root, file))).mtimeMs).toBe(EPOCH * 1000);
    }
  });

  it(
    'is the same to the last file when somebody else builds it elsewhere, from a checkout that only they may read',
    async () => {
      const project = join(folder, 'elsewhere', 'checkout');
      for (const path of ['Containerfile', '.dockerignore', ...(await contextOf(PROJECT))]) {
        await mkdir(dirname(join(project, path)), { recursive: true, mode: 0o700 });
        await copyFile(join(PROJECT, path), join(project, path));
        await chmod(join(project, path), 0o600);
      }
      const again = await buildIntoFolder({
        folder: join(folder, 'elsewhere', 'made'),
        project,
        args: BUILD_ARGS,
        cacheDir,
      });
      expect(await treeDigest(join(again.root, 'app'))).toBe(await treeDigest(join(image.root, 'app')));
    },
    BUILD_TIMEOUT_MS,
  );

  it.each(['workflow-bundle.js', 'scheduled-bundle.js'])(
    'has in %s the lines of the workflows but not their text, in single bytes: each process holds all of it',
    async (bundle) => {
      const code = await readFile(join(image.root, 'app/dist', bundle));
      expect(code.every((byte) => byte < 0x80)).toBe(true);
      const [, map = ''] = code.toString().split('sourceMappingURL=data:application/json;charset=utf-8;base64,');
      const payload = JSON.parse(Buffer.from(map, 'base64').toString()) as SourceMapPayload;
      expect(payload).not.toHaveProperty('sourcesContent');
      const lines = code.toString().split('\n');
      const [line = -1] = lines.flatMap((text, index) => (/^async function auditUpload\(/.test(text) ? [index] : []));
      const [source] = (await readFile(join(PROJECT, 'workflows/audit-upkeep.ts'), 'utf8')).split(
        /async function auditUpload\(/,
      );
      expect(new SourceMap(payload).findEntry(line, 0)).toMatchObject({
        originalSource: expect.stringMatching(/\/workflows\/audit-upkeep\.ts$/),
        originalLine: (source ?? '').split('\n').length - 1, // from 0
      });
    },
  );

  it('may be read by the user that it runs as, whoever built it', async () => {
    for (const file of ['app/package.json', 'app/LICENSE', 'app/sbom.cdx.json', 'app/dist/worker/main.js']) {
      expect((await stat(join(image.root, file))).mode & 0o777).toBe(0o644);
    }
    expect((await stat(join(image.root, 'app/bin/byoc'))).mode & 0o777).toBe(0o755);
  });

  it('says what is in it: the packages that run, with their versions', async () => {
    const bom = JSON.parse(await readFile(join(image.root, 'app/sbom.cdx.json'), 'utf8')) as Bom;
    expect(bom).toMatchObject({
      bomFormat: 'CycloneDX',
      metadata: { component: { name: 'byoc-connector', version: '0.1.0' } },
    });
    expect(bom.metadata.timestamp).toBe(new Date(EPOCH * 1000).toISOString());
    const packages = bom.components.map(({ group, name, version }) => `${group ? `${group}/` : ''}${name}@${version}`);
    expect(packages).toEqual(expect.arrayContaining(['@temporalio/worker@1.24.0', 'zod@4.6.7']));
    expect(packages.filter((name) => /^(typescript|jest|eslint)@/.test(name))).toEqual([]);
  });

  it('is labelled, has a user that is a number and not root, and starts the worker', () => {
    expect(image).toMatchObject({
      user: { uid: 65_532, gid: 65_532 },
      entrypoint: ['/nodejs/bin/node', '/app/dist/worker/main.js'],
      env: { NODE_ENV: 'production' },
      labels: { 'org.opencontainers.image.version': '0.1.0', 'org.opencontainers.image.revision': 'f00d' },
    });
  });

  describe('as a container', () => {
    let connector: TestConnector;
    let worker: Program;
    let authority: Authority;

    beforeAll(async () => {
      authority = await createAuthority();
      const names = [
        { type: 'dns', value: 'byoc-connector-execution.byoc.svc' },
        { type: 'ip', value: ADDRESS },
      ] as const;
      const { cert, key } = await authority.issue('agent', { names });
      connector = await TestConnector.start({ clothes: 'development' }); // in the chart's, the image is in install.test.ts
      await connector.stopWorker();
      const settings = { ...connector.prepared.env };
      delete settings['BYOC_WORKFLOW_BUNDLE']; // the image has its own
      const env = {
        ...settings,
        BYOC_DATA_DIR: '/var/lib/byoc',
        BYOC_WRITER: 'image-0',
        BYOC_AGENT_PORT: '8005',
        BYOC_AGENT_HOST: ADDRESS,
        BYOC_AGENT_TLS_CERT: await connector.save('agent.crt', cert),
        BYOC_AGENT_TLS_KEY: await connector.save('agent.key', key),
      };
      const launch = await launchImage({
        image,
        folder: join(folder, 'container'),
        args: ['--role', 'execution'],
        env,
      });
      worker = new Program({ name: 'image', ...launch, logFile: join(folder, 'image.log') });
      await until(
        'the worker of the image to be ready',
        () => {
          if (!worker.running) throw new Error(worker.describeEnd());
          return worker.output().includes('"message":"ready"');
        },
        60_000,
      );
    }, 180_000);
    afterAll(async () => {
      await worker.stop();
      await connector.stop();
    });

    it('runs as its user, with no capabilities, no way to get any, and a root that nobody can write', async () => {
      const pid = await nodeOf(worker);
      const status = await readFile(`/proc/${pid}/status`, 'utf8');
      const field = (name: string) => new RegExp(`^${name}:\\s+(.*)$`, 'm').exec(status)?.[1];
      expect(field('Uid')).toBe('65532\t65532\t65532\t65532');
      expect(field('Groups')?.trim()).toBe('65532');
      expect(field('CapEff')).toBe('0000000000000000');
      expect(field('CapPrm')).toBe('0000000000000000');
      expect(field('NoNewPrivs')).toBe('1');
      const script = `
        const fs = require('node:fs');
        const tried = ['/x', '/app/x', '/app/dist/worker/main.js', '/etc/byoc/x', '/var/lib/byoc/x', '/tmp/x'].map((path) => {
          try { fs.appendFileSync(path, ''); return path + ' written'; } catch (error) { return path + ' ' + error.code; }
        });
        console.log(JSON.stringify(tried));`;
      const command = ['/nodejs/bin/node', '-e', script];
      const launch = await launchImage({ image, folder: join(folder, 'other'), args: [], command, env: {} });
      const { stdout } = await runTool(launch.command, launch.args, launch.env);
      expect(JSON.parse(stdout)).toEqual([
        '/x EROFS',
        '/app/x EROFS',
        '/app/dist/worker/main.js EACCES', // and it is not even the worker's own
        '/etc/byoc/x EROFS',
        '/var/lib/byoc/x written',
        '/tmp/x written',
      ]);
    });

    it('has byoc on its PATH, for whoever looks from inside', async () => {
      expect(image.env['PATH']?.split(':')[0]).toBe('/app/bin');
      const command = ['/app/bin/byoc', 'policy', 'check', '/etc/byoc/BYOC_POLICY', '-o', 'json'];
      const env = { BYOC_POLICY: connector.prepared.policyPath };
      const launch = await launchImage({ image, folder: join(folder, 'inside'), args: [], command, env });
      const { code, stdout, stderr } = await runTool(launch.command, launch.args, launch.env);
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      expect(JSON.parse(stdout)).toMatchObject({ digest: expect.stringMatching(/^sha256:/) });
    });

    it('is ready, by TLS, and executes a package on the real parts', async () => {
      const dispatcher = new Agent({ connect: { ca: authority.ca } });
      const { statusCode } = await request(`https://${ADDRESS}:8005/health/ready`, { dispatcher });
      await dispatcher.close();
      expect(statusCode).toBe(200);
      const { wpkId, workflowId, planDigest } = await connector.submitAndPlan();
      await connector.signalApproval(workflowId, { approver: 'bob@example.com', planDigest });
      const { phase } = await connector.untilView(wpkId, ({ phase }) => ENDS.includes(phase));
      expect(phase).toBe('succeeded');
    });

    it('passes helm test as the chart has it, which believes nobody but the authority that it was given', async () => {
      const job = (await render('minimal')).find(({ kind }) => kind === 'Job');
      const [container] = listAt(job, 'spec', 'template', 'spec', 'containers');
      const [command, args] = [listAt(container, 'command').map(String), listAt(container, 'args').map(String)];
      const tested = async (ca: string) => {
        const env = { NODE_EXTRA_CA_CERTS: await connector.save('ca.crt', ca), NODE_OPTIONS: RESOLVES };
        const launch = await launchImage({ image, folder: join(folder, 'helm-test'), command, args, env });
        const { code, stdout } = await runTool(launch.command, launch.args, launch.env);
        return { code, stdout };
      };
      expect(await tested(authority.ca)).toEqual({
        code: 0,
        stdout: expect.stringMatching(/^byoc-connector-execution\.byoc\.svc 200 \{.*\}\n$/),
      });
      expect(await tested((await createAuthority()).ca)).toEqual({
        code: 1,
        stdout: expect.stringMatching(/^byoc-connector-execution\.byoc\.svc gave no answer: .*certificate/),
      });
    }, 60_000);

    it('drains when it is told to end, within the time that a pod has', async () => {
      process.kill(await nodeOf(worker), 'SIGTERM');
      await until('the worker to end', () => !worker.running, 30_000);
      expect(worker.output()).toContain('"message":"stopped"');
    });
  });
});

/** The worker itself: what leads to it replaces itself, one after the other. */
async function nodeOf({ pid }: Program): Promise<number> {
  if (pid === undefined) throw new Error('The image does not run.');
  expect(await readFile(`/proc/${pid}/cmdline`, 'utf8')).toContain('/app/dist/worker/main.js');
  return pid;
}

interface Bom {
  readonly metadata: { readonly timestamp: string };
  readonly components: readonly { readonly group?: string; readonly name: string; readonly version: string }[];
}
