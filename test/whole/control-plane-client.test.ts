import { readFile, writeFile } from 'node:fs/promises';
import { createSecureServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { ConnectorClient } from '../../client/connector-client.ts';
import { signWpk } from '../../client/sign.ts';
import { environmentOf } from '../../dev/environment.ts';
import { tlsOf } from '../../dev/servers/temporal.ts';
import { startTlsProxy } from '../../dev/tls-proxy/proxy.ts';
import { taskQueueOf, workflowIdOf } from '../../domain/names.ts';
import type { SignedWpk } from '../../domain/wpk.ts';
import type { Authority, Certificate } from '../../dev/authority.ts';
import { createAuthority } from '../../dev/authority.ts';
import { TestConnector } from '../support/connector.ts';
import { asyncErrorOf } from '../support/expect-code.ts';
import { applyStep, configMap } from '../support/packages.ts';
import { until } from '../support/until.ts';

// R6, R23

const EXAMPLES = join(import.meta.dirname, '../../client/examples');
const BOB = 'bob@example.com';

describe('a control plane', () => {
  let connector: TestConnector;
  let uses = 0;

  beforeAll(async () => {
    connector = await TestConnector.start({ clothes: 'development' }); // a control plane has no key
  });
  afterAll(() => connector.stop());

  /** A package that makes a ConfigMap of its own. */
  const nextPackage = () => {
    const name = `settings-${(uses += 1)}`;
    const wpk = connector.wpk({ steps: [applyStep(configMap(name, connector.namespace, { colour: 'blue' }))] });
    return { name, wpk, id: wpk.metadata.id };
  };

  it('starts, approves and reads a package with nothing of ours: by the temporal command alone', async () => {
    const { name, wpk, id } = nextPackage();
    const file = await connector.save('app.wpk.json', JSON.stringify(wpk));
    const bundle = join(connector.prepared.folder, 'app.wpk.sigstore.json');
    await sign(connector, file, bundle);
    // docs/work-package.md does this with jq.
    const signed = await connector.save('signed.json', await wireForm(file, bundle));
    const workflow = ['--workflow-id', workflowIdOf(connector.clusterId, id)];
    const taskQueue = taskQueueOf(connector.clusterId, 'execution');
    const start = ['--type', 'executeWpk', '--task-queue', taskQueue, '--id-reuse-policy', 'RejectDuplicate'];

    await connector.temporal('workflow', 'start', ...start, ...workflow, '--input-file', signed);
    const planDigest = await until('the plan', async () => {
      const [status] = queryResult(
        await connector.temporal('workflow', 'query', ...workflow, '--type', 'status', '-o', 'json'),
      );
      return status?.['phase'] === 'awaiting-approval' && String(status['planDigest']);
    });
    const vote = JSON.stringify({ approver: BOB, planDigest });
    await connector.temporal('workflow', 'signal', ...workflow, '--name', 'approve', '--input', vote);
    const result = JSON.parse(await connector.temporal('workflow', 'result', ...workflow, '-o', 'json')) as {
      result: unknown;
    };
    expect(result.result).toMatchObject({ phase: 'succeeded', approvers: [BOB], planDigest });
    expect(await connector.dataOf(name)).toEqual({ colour: 'blue' });
  });

  it('follows a package by the first example, and votes by the second', async () => {
    const { name, wpk, id } = nextPackage();
    const file = await connector.save('followed.wpk.json', JSON.stringify(wpk));
    await sign(connector, file, join(connector.prepared.folder, 'followed.wpk.sigstore.json'));
    const following = connector.shell(`exec ${process.execPath} ${EXAMPLES}/follow-a-package.ts ${file}`);
    await connector.untilListed(id);
    const example = `exec ${process.execPath} ${EXAMPLES}/vote-and-stop.ts`;
    expect((await connector.shell(example)).stdout).toContain(`${id}  awaiting-approval  low`);
    const { planDigest } = await connector.client.get(id);
    const voted = await connector.shell(`${example} approve ${id} ${BOB} ${connector.prepared.approverKeyPath}`);
    expect(voted).toMatchObject({ code: 0, stdout: `approved ${planDigest}; 0 more needed\n` });
    const { code, stdout } = await following;
    expect(code).toBe(0);
    const lines = stdout.trim().split('\n');
    expect(lines[0]).toBe(`${id} started`);
    expect(lines).toContain(`awaiting-approval of plan ${planDigest}`);
    expect(lines.at(-1)).toBe('succeeded');
    expect(await connector.dataOf(name)).toEqual({ colour: 'blue' });
  });

  it('stops a package that waits by the second example', async () => {
    const { wpkId } = await connector.submitAndPlan({ steps: nextPackage().wpk.steps });
    const example = `exec ${process.execPath} ${EXAMPLES}/vote-and-stop.ts`;
    expect(await connector.shell(`${example} stop ${wpkId}`)).toMatchObject({ code: 0, stdout: 'stopped\n' });
  });

  it('tells the code and nothing else of where an example fails', async () => {
    const { wpk } = nextPackage();
    const file = await connector.save('twice.wpk.json', JSON.stringify(wpk));
    await sign(connector, file, join(connector.prepared.folder, 'twice.wpk.sigstore.json'));
    await connector.client.submit(
      JSON.parse(await wireForm(file, file.replace('.json', '.sigstore.json'))) as SignedWpk,
    );
    const { code, stderr } = await connector.shell(`exec ${process.execPath} ${EXAMPLES}/follow-a-package.ts ${file}`);
    expect({ code, stderr }).toMatchObject({ code: 1, stderr: expect.stringMatching(/^WPK_ALREADY_USED: /) });
  });

  it('ends a watch when it is told to, and when whoever reads it has read enough', async () => {
    const { wpkId } = await connector.submitAndPlan({ steps: nextPackage().wpk.steps });
    for await (const view of connector.client.watch(wpkId)) {
      expect(view.phase).toBe('awaiting-approval');
      break;
    }
    const aborting = new AbortController();
    const seen: string[] = [];
    for await (const { phase } of connector.client.watch(wpkId, { signal: aborting.signal })) {
      seen.push(phase);
      aborting.abort();
    }
    expect(seen).toEqual(['awaiting-approval']);
    await connector.client.stop(wpkId);
  });
});

describe('the settings that every Temporal client has', () => {
  let connector: TestConnector;
  let authority: Authority;
  let pairs: { readonly server: Certificate; readonly client: Certificate };

  beforeAll(async () => {
    connector = await TestConnector.start({ clothes: 'development' });
    authority = await createAuthority();
    const names = [{ type: 'ip', value: '127.0.0.1' }] as const;
    pairs = {
      server: await authority.issue('server', { names: [...names, { type: 'dns', value: 'temporal.test' }] }),
      client: await authority.issue('client', { use: 'client' }),
    };
  });
  afterAll(() => connector.stop());

  const files = async () => ({
    TEMPORAL_TLS_SERVER_CA_CERT_PATH: await connector.save('ca.crt', authority.ca),
    TEMPORAL_TLS_CLIENT_CERT_PATH: await connector.save('client.crt', pairs.client.cert),
    TEMPORAL_TLS_CLIENT_KEY_PATH: await connector.save('client.key', pairs.client.key),
  });
  const connectTo = async (port: number, env: Record<string, string>) =>
    ConnectorClient.connect(connector.clusterId, {
      ...environmentOf(connector.services),
      TEMPORAL_ADDRESS: `127.0.0.1:${port}`,
      TEMPORAL_TLS: 'true',
      TEMPORAL_TLS_SERVER_NAME: 'temporal.test',
      ...env,
    });

  it('take a client over TLS with a certificate of its own, and no further without it or with another authority', async () => {
    const { address, ...inner } = connector.services.temporal;
    const { serverRootCACertificate: ca, clientCertPair } = await tlsOf(inner);
    const target = { port: Number(address.split(':')[1]), ca, cert: clientCertPair.crt, key: clientCertPair.key };
    const proxy = await startTlsProxy({ port: 0, target, ...pairs.server, clientCa: authority.ca, alpn: ['h2'] });
    const at = proxy.port;
    try {
      const { TEMPORAL_TLS_CLIENT_CERT_PATH, TEMPORAL_TLS_CLIENT_KEY_PATH, ...withoutOurs } = await files();
      const certificate = { TEMPORAL_TLS_CLIENT_CERT_PATH, TEMPORAL_TLS_CLIENT_KEY_PATH };
      const client = await connectTo(at, { ...withoutOurs, ...certificate });
      expect(await client.list()).toEqual([]);
      await client.close();
      expect((await asyncErrorOf(() => connectTo(at, { ...NO_CERTIFICATE, ...withoutOurs }))).code).toBe(
        'TEMPORAL_UNAVAILABLE',
      );
      const other = await connector.save('other.crt', (await createAuthority()).ca);
      const distrusting = { ...certificate, TEMPORAL_TLS_SERVER_CA_CERT_PATH: other };
      expect((await asyncErrorOf(() => connectTo(at, distrusting))).code).toBe('TEMPORAL_UNAVAILABLE');
    } finally {
      await proxy.close();
    }
  });

  it('send the API key as Temporal Cloud wants it', async () => {
    const keys: unknown[] = [];
    const server = createSecureServer(pairs.server, (request, response) => {
      keys.push(request.headers.authorization);
      response.stream.respond(
        { ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '16' },
        { endStream: true },
      );
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      const { TEMPORAL_TLS_SERVER_CA_CERT_PATH } = await files();
      const env = { ...NO_CERTIFICATE, TEMPORAL_TLS_SERVER_CA_CERT_PATH, TEMPORAL_API_KEY: 'key-of-a-test' };
      const error = await asyncErrorOf(() => connectTo((server.address() as AddressInfo).port, env));
      expect(error.code).toBe('TEMPORAL_UNAVAILABLE');
      expect(keys[0]).toBe('Bearer key-of-a-test');
      expect(`${error.message} ${JSON.stringify(error)}`).not.toContain('key-of-a-test');
    } finally {
      server.close();
    }
  });
});

/** What the environment of the stack sets besides. */
const NO_CERTIFICATE = { TEMPORAL_TLS_CLIENT_CERT_PATH: '', TEMPORAL_TLS_CLIENT_KEY_PATH: '' };

/** Signs a file as cosign does, with the development key. */
async function sign(connector: TestConnector, file: string, bundle: string): Promise<void> {
  await writeFile(bundle, JSON.stringify(signWpk(await readFile(file), connector.prepared.privateKeyPem)));
}

async function wireForm(file: string, bundle: string): Promise<string> {
  const payload = (await readFile(file)).toString('base64');
  return JSON.stringify({ payload, bundle: JSON.parse(await readFile(bundle, 'utf8')) as unknown });
}

/** What the temporal command prints of a query. */
function queryResult(text: string): Record<string, unknown>[] {
  const { queryResult: found } = JSON.parse(text) as { queryResult: Record<string, unknown>[] };
  return found;
}
