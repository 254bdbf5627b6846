import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { generateKeyPair, signWpk } from '../../client/sign.ts';
import { claimState } from '../../dev/state.ts';
import { buildWpk } from '../support/packages.ts';

const BYOC = join(import.meta.dirname, '../../client/cli/main.ts');

interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function byoc(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ran> {
  return new Promise((resolve) => {
    execFile(process.execPath, [BYOC, ...args], { env }, (error, stdout, stderr) => {
      resolve({ code: error ? Number(error.code) : 0, stdout, stderr });
    });
  });
}

/** A port where nobody listens: what gets so far has not refused the package. */
const NOWHERE = { TEMPORAL_ADDRESS: '127.0.0.1:1' };
const GONE = '/nowhere/gone.pem';

describe('byoc', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'byoc-command-'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  async function save(wpk: object, bundle: unknown = {}): Promise<string> {
    const file = join(folder, 'one.wpk.json');
    await writeFile(file, JSON.stringify(wpk, null, 2));
    await writeFile(join(folder, 'one.wpk.sigstore.json'), JSON.stringify(bundle));
    return file;
  }

  it('sends no package of another cluster', async () => {
    const file = await save(buildWpk({ clusterId: 'prod-eu-2' }));
    expect(await byoc(['submit', file, '--cluster', 'prod-eu-1'], NOWHERE)).toMatchObject({
      ...{ code: 2, stdout: '' },
      stderr: expect.stringContaining(
        'one.wpk.json is for the cluster prod-eu-2, not for prod-eu-1: nothing was sent.',
      ),
    });
  });

  it('sends no package that is not well formed, and says where it is not', async () => {
    const file = await save({ ...buildWpk({ clusterId: 'prod-eu-1' }), risk: 'none' });
    expect(await byoc(['submit', file, '--cluster', 'prod-eu-1'], NOWHERE)).toEqual({
      ...{ code: 1, stdout: '', stderr: expect.stringMatching(/^\S+one.wpk.json:\d+:11 WPK_SCHEMA .* \(\/risk\)\n$/) },
    });
  });

  it('says of a package that is not signed yet how it is', async () => {
    const file = join(folder, 'unsigned.wpk.json');
    await writeFile(file, JSON.stringify(buildWpk({ clusterId: 'prod-eu-1' })));
    const signature = join(folder, 'unsigned.wpk.sigstore.json');
    expect(await byoc(['submit', file, '--cluster', 'prod-eu-1'], NOWHERE)).toEqual({
      ...{ code: 2, stdout: '' },
      stderr:
        `byoc: FILE_UNREADABLE: A file cannot be read. ${signature} does not exist: ${file} is not signed yet. ` +
        `Sign it: cosign sign-blob --key KEY --bundle ${signature} --use-signing-config=false --tlog-upload=false ${file} ` +
        `(in development: byoc dev sign ${file})\n`,
    });
  });

  it('sends no package whose signature is for other bytes', async () => {
    const wpk = buildWpk({ clusterId: 'prod-eu-1' });
    const bundle = signWpk(Buffer.from(JSON.stringify(wpk)), generateKeyPair().privateKeyPem);
    const file = await save(wpk, bundle); // with indents: the same package in other bytes
    const signature = join(folder, 'one.wpk.sigstore.json');
    expect(await byoc(['submit', file, '--cluster', 'prod-eu-1'], NOWHERE)).toEqual({
      ...{ code: 1, stdout: '' },
      stderr:
        'byoc: SIGNATURE_INVALID: The signature does not match the payload. ' +
        `${signature} signs other bytes than those of ${file}. Sign it anew. Nothing was sent.\n`,
    });
  });

  const ofBytes = (bytes: string) => signWpk(Buffer.from(bytes), generateKeyPair().privateKeyPem);
  it.each<[string, (bytes: string) => unknown]>([
    ['is for these bytes, whoever signed them', (bytes) => ofBytes(bytes)],
    ['is no bundle', () => 'not a bundle'],
    [
      'names a digest that it does not know',
      (bytes) => {
        const bundle = ofBytes(bytes);
        const messageDigest = { algorithm: 'SHA2_512', digest: bundle.messageSignature.messageDigest.digest };
        return { ...bundle, messageSignature: { ...bundle.messageSignature, messageDigest } };
      },
    ],
  ])('leaves a signature to the cluster that %s', async (_what, bundleOf) => {
    const wpk = buildWpk({ clusterId: 'prod-eu-1' });
    const file = await save(wpk, bundleOf(JSON.stringify(wpk, null, 2)));
    // What comes to the connection has not refused the package.
    const env = { TEMPORAL_TLS_SERVER_CA_CERT_PATH: GONE };
    expect(await byoc(['submit', file, '--cluster', 'prod-eu-1'], env)).toMatchObject({
      ...{ code: 2, stderr: expect.stringContaining(`TEMPORAL_TLS_SERVER_CA_CERT_PATH names ${GONE}`) },
    });
  });

  it('signs a package that is not well formed for tests, and warns', async () => {
    const file = await save({ ...buildWpk(), risk: 'none' });
    await mkdir(join(folder, 'connector'), { recursive: true });
    await writeFile(join(folder, 'connector/signing-key.pem'), generateKeyPair().privateKeyPem);
    expect(await byoc(['dev', 'sign', file, '--state', folder])).toMatchObject({
      code: 0,
      stdout: `${join(folder, 'one.wpk.sigstore.json')}\n`,
      stderr: expect.stringMatching(/one.wpk.json:\d+:11 WPK_SCHEMA [^]*every cluster will refuse it/),
    });
  });

  it('finds the stack that a shell was told of, unless another is named', async () => {
    const file = await save(buildWpk());
    await mkdir(join(folder, 'connector'), { recursive: true });
    await writeFile(join(folder, 'connector/signing-key.pem'), generateKeyPair().privateKeyPem);
    const env = { BYOC_DEV_STATE: folder };
    expect(await byoc(['dev', 'sign', file], env)).toMatchObject({ code: 0 });
    expect(await byoc(['dev', 'sign', file, '--name', 'none-such'], env)).toMatchObject({
      ...{ code: 2, stderr: expect.stringContaining('.byoc/none-such/connector/signing-key.pem: it does not exist.') },
    });
  });

  it.each([
    [['list'], 'TEMPORAL_TLS_SERVER_CA_CERT_PATH', {}],
    [
      ['show', '01JD0000000000000000000000'],
      'TEMPORAL_TLS_CLIENT_CERT_PATH',
      { TEMPORAL_TLS_CLIENT_KEY_PATH: '/nowhere/other.pem' },
    ],
    [['list'], 'TEMPORAL_CONFIG_FILE', {}],
    [['list'], 'VAULT_CACERT', { BYOC_PAYLOAD_CODEC: 'vault' }],
    [['codec-server'], 'VAULT_CACERT', { BYOC_PAYLOAD_CODEC: 'vault' }],
    [['vault', 'setup', '--apply'], 'VAULT_CACERT', {}],
    [['audit', 'verify', 's3://audit/', '--region', 'eu-1'], 'AWS_CA_BUNDLE', {}],
  ] as [string[], string, Record<string, string>][])(
    'says of a file that is gone who names it: %j with %s',
    async (args, setting, others) => {
      const vault = { VAULT_ADDR: 'https://127.0.0.1:1', VAULT_TOKEN: 'token' };
      const env = { BYOC_CLUSTER_ID: 'prod-eu-1', ...NOWHERE, ...vault, ...others, [setting]: GONE };
      const ran = await byoc(args, env);
      expect(ran).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining('CONFIG_INVALID') });
      expect(ran.stderr).toMatch(new RegExp(`${setting} \\(?(names )?${GONE}`));
      expect(ran.stderr).not.toContain('dev up');
    },
  );

  it("says what to do where the file was the embedded stack's, which is down", async () => {
    const ca = join(folder, 'tls/ca.pem');
    const env = { BYOC_DEV_STATE: folder, TEMPORAL_TLS_SERVER_CA_CERT_PATH: ca };
    expect(await byoc(['list', '--cluster', 'dev'], env)).toEqual({
      code: 2,
      stdout: '',
      stderr:
        `byoc: CONFIG_INVALID: A setting is missing or wrong. TEMPORAL_TLS_SERVER_CA_CERT_PATH names ${ca}: it does not exist.\n` +
        'That file is the embedded stack\'s, which is not up. Try: byoc dev up, then: eval "$(byoc dev env)"\n',
    });
  });

  it.each([
    [['stop'], 'byoc: USAGE: Name the package to stop, or --all.\nSee: byoc stop --help\n'],
    [['audit', 'head', '--fast'], "error: unknown option '--fast'\nSee: byoc audit head --help\n"],
  ])('that is typed wrongly, as %j, says what is missing, and where the command is explained', async (args, stderr) => {
    expect(await byoc(args)).toEqual({ code: 2, stdout: '', stderr });
  });

  it('says that nothing is left of a start that was interrupted', async () => {
    // A stack that somebody is starting already: a second start waits for it.
    const state = join(folder, 'starting');
    await mkdir(state);
    await claimState(state);
    const tells = "process.on('newListener', (name) => name === 'SIGINT' && process.stdout.write('listens '));";
    const env = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(tells)}` };
    const starting = spawn(process.execPath, [BYOC, 'dev', 'up', '--state', state, '--no-worker'], { env });
    let listens = '';
    let said = '';
    starting.stderr.on('data', (data: Buffer) => (said += data.toString()));
    starting.stdout.on('data', (data: Buffer) => {
      listens += data.toString();
      if (listens === 'listens listens ') starting.kill('SIGINT'); // every command does, and then this one in its own way
    });
    const [code] = (await once(starting, 'close')) as [number | null];
    expect([code, said]).toEqual([130, 'Interrupted; everything that was started is stopped.\n']);
  });

  const POINTER =
    'This shell is set to use the embedded stack, whose worker has settings of its own: byoc doctor --dev';
  it('points to the worker of the stack where doctor looks at a shell that is set to use it', async () => {
    const env = { BYOC_DEV_STATE: folder };
    expect((await byoc(['doctor'], env)).stderr).toContain(POINTER);
    const file = join(folder, 'settings.env');
    await writeFile(file, 'BYOC_CLUSTER_ID=prod-eu-1\n');
    for (const [args, others] of [
      [['doctor'], {}],
      [['doctor', '--env-file', file], env],
    ] as const) {
      const ran = await byoc(args, others);
      expect(ran).toMatchObject({ code: 1, stdout: expect.stringContaining('does not start until then') });
      expect(ran.stderr).not.toContain('doctor --dev');
    }
  });

  it('says so where it waits for something that never comes', async () => {
    const hung = 'fs.readFile = () => new Promise(() => {}); syncBuiltinESMExports();';
    const module = `import fs from 'node:fs/promises'; import { syncBuiltinESMExports } from 'node:module'; ${hung}`;
    const NODE_OPTIONS = `--import=data:text/javascript,${encodeURIComponent(module)}`;
    expect(await byoc(['check', 'x.wpk.json'], { NODE_OPTIONS })).toMatchObject({
      ...{ code: 1, stdout: '', stderr: expect.stringMatching(/^byoc: INTERNAL: .*waits for something that never/) },
    });
  });
});
