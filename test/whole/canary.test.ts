import { randomBytes } from 'node:crypto';
import { glob, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { request } from 'undici';
import { createAuthority } from '../../dev/authority.ts';
import { generateKeyPair } from '../../client/sign.ts';
import { scheduleIdOf, STATE_NAMESPACE } from '../../domain/names.ts';
import type { Step } from '../../domain/wpk.ts';
import { approver, approveWithKey } from '../support/approvers.ts';
import { Canaries } from '../support/canaries.ts';
import { TestConnector } from '../support/connector.ts';
import type { TestServer } from '../support/http-server.ts';
import { startServer } from '../support/http-server.ts';
import { applyStep, signBytes } from '../support/packages.ts';
import { TokenIssuer } from '../support/token-issuer.ts';
import { until } from '../support/until.ts';
import { callVault } from '../support/vault.ts';

// R11, R15, R20, R26, R28

/** A secret of a kind of its own, so that what is found says where it came from. */
const canaries = new Canaries();
function canary(name: string, prefix = ''): string {
  const secret = `${prefix}c4nary${randomBytes(12).toString('hex')}`;
  canaries.add(name, secret);
  return secret;
}

/** Put into packages by whoever sends them: Temporal has those inputs as they came, and nothing else has them. */
const OF_PACKAGES = [
  'a Secret that is applied',
  'a Secret that is refused',
  'a Secret that a policy quotes',
  'a malformed package',
  'a comment',
];

/** Everything that anybody can see of a connector, each with where it is from. */
interface Seen {
  readonly place: string;
  readonly text: string;
}

describe('a secret that comes in', () => {
  let connector: TestConnector;
  let issuer: TokenIssuer;
  let outside: TestServer;
  let url = '';
  const seen: Seen[] = [];
  const workflows: string[] = [];
  const policyName = `byoc-canary-${randomBytes(4).toString('hex')}`;

  const answered = async (place: string, path: string, options: Parameters<typeof request>[1] = {}) => {
    const { body, headers, statusCode } = await request(`${url}${path}`, options);
    seen.push({ place, text: `${statusCode} ${JSON.stringify(headers)} ${await body.text()}` });
    return statusCode;
  };
  const byoc = async (...args: string[]) => {
    const { stdout, stderr } = await connector.byoc(...args);
    seen.push({ place: `byoc ${args[0]} ${args[1] ?? ''}`, text: stdout + stderr });
  };
  const secret = (name: string, more: object) =>
    applyStep({ apiVersion: 'v1', kind: 'Secret', metadata: { name, namespace: connector.namespace }, ...more });
  const run = async (...steps: Step[]) => {
    const submitted = await connector.submit({ steps });
    workflows.push(submitted.workflowId);
    return submitted;
  };
  const trigger = (name: string) =>
    connector.client.client.schedule
      .getHandle(scheduleIdOf(connector.clusterId, name, ...(name === 'metrics' ? ['worker-0'] : [])))
      .trigger();

  beforeAll(async () => {
    issuer = await TokenIssuer.create();
    const authority = await createAuthority();
    const [password, environment, quoted] = [
      canary('the password of Prometheus'),
      canary('the environment'),
      canary('what a part answers'),
    ];
    const labels = { __name__: 'up', pod: 'web-1', endpoint: `https://u:${canary('a label of a metric')}@db/` };
    outside = await startServer(
      ({ path, headers }, response) => {
        // The part of a token that makes it one.
        const token = /^Bearer [\w-]+\.[\w-]+\.([\w-]+)$/.exec(headers.authorization ?? '')?.[1];
        if (token) canaries.add(`a token that ${path} was sent`, token);
        if (path.startsWith('/api/v1/query')) {
          const result = [{ metric: labels, value: [Date.now() / 1_000, '1'] }];
          response.writeHead(200, { 'content-type': 'application/json', 'x-secret': quoted });
          return response.end(
            JSON.stringify({ status: 'success', data: { resultType: 'vector', result }, warnings: [quoted] }),
          );
        }
        const refusal = { type: 'x', title: quoted, status: 403, code: quoted, detail: quoted };
        return response
          .writeHead(403, { 'content-type': 'application/problem+json', 'x-secret': quoted })
          .end(JSON.stringify(refusal));
      },
      await authority.issue('outside'),
    );
    connector = await TestConnector.start({
      clothes: 'development', // where nothing is encrypted, nothing hides behind that
      files: {
        'jwks.json': await issuer.jwks(),
        'outside.pem': authority.ca,
        'metrics.yaml': 'queries: [{ name: up, promql: up }]',
      },
      env: {
        LOG_LEVEL: 'debug',
        DEBUG: 'node-vault',
        SOME_PASSWORD: environment,
        CONTROL_PLANE_URL: outside.address,
        BYOC_CONTROL_PLANE_CA: 'outside.pem',
        BYOC_CONTROL_PLANE_LOST_SECONDS: '1',
        PROM_URL: outside.address,
        PROM_USERNAME: 'byoc',
        PROM_PASSWORD: password,
        BYOC_PROM_CA: 'outside.pem',
        BYOC_METRICS: 'metrics.yaml',
        INSIGHT_URL: outside.address,
        BYOC_INSIGHT_CA: 'outside.pem',
        BYOC_AGENT_PORT: '0',
        BYOC_AGENT_JWT_ISSUER: issuer.issuer,
        BYOC_AGENT_JWT_KEYS: 'jwks.json',
      },
    });
    for (const role of ['REGISTRATION', 'METRICS', 'EXECUTION']) {
      const file = connector.prepared.env[`VAULT_SECRET_ID_FILE_${role}`] ?? '';
      canaries.add(`the secret_id of ${role}`, (await readFile(file, 'utf8')).trim());
    }
    canaries.add('the secret key of S3', connector.services.s3.secretAccessKey);
    canaries.add('the root token of Vault', connector.services.vault.token);
    for (const name of ['byoc-audit-key', 'byoc-masking-key', 'byoc-redaction-key']) {
      const data = await connector.kubectl('get', 'secret', name, '-n', STATE_NAMESPACE, '-o', 'jsonpath={.data.key}');
      canaries.add(`the key ${name}`, data);
    }
    url = await agentUrl();

    await sendCallers();
    await runPackages();
    await breakVault();
    await letItWork();
    await askThePeople();
  }, 300_000);
  afterAll(async () => {
    await connector.kubectl(
      'delete',
      'validatingadmissionpolicy,validatingadmissionpolicybinding',
      policyName,
      '--ignore-not-found',
    );
    await connector.stop();
    await outside.close();
  });

  /** It takes a free port at each start. */
  async function agentUrl(): Promise<string> {
    const line = await until('the agent', async () =>
      (await connector.log()).find(({ message }) => message === 'the agent listens'),
    );
    return `http://127.0.0.1:${String(line['port'])}`;
  }

  /** Tokens that are good, bad and in the wrong place, and bodies that are nothing. */
  async function sendCallers(): Promise<void> {
    const good = await issuer.token(`byoc/${connector.clusterId}`);
    canaries.add('the token of a caller', good.split('.')[2] ?? '');
    const other = await issuer.token('byoc/another');
    canaries.add('a token for another cluster', other.split('.')[2] ?? '');
    const header = canary('a header');
    const content = { 'content-type': 'application/json' };
    const body = JSON.stringify({ payload: canary('a body'), bundle: canary('a bundle') });
    const more = {
      cookie: `session=${header}`,
      'user-agent': header,
      'x-request-id': header,
      'x-forwarded-for': header,
    };
    for (const authorization of [`Bearer ${good}`, `Bearer ${other}`, `Bearer ${header}`, `Basic ${header}`]) {
      await answered('POST /execute', '/execute', {
        method: 'POST',
        headers: { ...content, ...more, authorization },
        body,
      });
      await answered('GET /health', '/health', { headers: { ...more, authorization } });
      await answered('GET /nothing', `/nothing?token=${header}`, { headers: { ...more, authorization } });
    }
    await answered('GET /metrics', '/metrics', { headers: more });
    await answered('POST /execute', '/execute', {
      method: 'POST',
      headers: { ...content, authorization: `Bearer ${good}` },
      body: `{"payload":"${canary('a broken body')}`,
    });
    const signed = JSON.stringify(
      connector.signed({
        steps: [secret('by-http', { stringData: { password: canary('a Secret that a caller sends') } })],
      }),
    );
    expect(
      await answered('POST /execute', '/execute', {
        method: 'POST',
        headers: { ...content, authorization: `Bearer ${good}` },
        body: signed,
      }),
    ).toBe(202);
  }

  async function runPackages(): Promise<void> {
    const value = canary('a Secret that is applied');
    const refused = canary('a Secret that is refused');
    const quoted = canary('a Secret that a policy quotes');
    const applied = await run(secret('login', { stringData: { password: value } }));
    const waiting = await connector.untilWaiting(applied);
    const carol = await approver(connector, 'carol@example.com');
    canaries.add('the private key of an approver', (await readFile(carol.keyFile, 'utf8')).split('\n')[1] ?? '');
    await byoc('show', waiting.wpkId, '-o', 'json');
    await byoc('show', waiting.wpkId);
    // What looks like a token in a comment is one.
    const comment = canary('a comment', 'ghp_').slice(0, 40);
    canaries.add('a comment', comment);
    await connector.signalApproval(waiting.workflowId, {
      approver: 'bob@example.com',
      planDigest: waiting.planDigest,
      comment: `see ${comment}`,
    });
    expect(await connector.client.result(waiting.wpkId)).toMatchObject({ phase: 'succeeded' });
    const again = await connector.untilWaiting(
      await run(secret('login', { stringData: { password: `${value} more` } })),
    );
    await byoc('show', again.wpkId);
    await approveWithKey(connector, carol, again);

    for (const more of [
      { dta: refused },
      { stringData: { a: { b: refused } } },
      { data: { a: `${refused}!` } },
      {
        metadata: { name: 'login', namespace: connector.namespace, labels: { a: `${refused}!` } },
        stringData: { a: refused },
      },
    ]) {
      await connector.client.result((await run(secret('refused', more))).wpkId);
    }

    const expression = "'refused: ' + string(object.data.password) + ' of ' + object.metadata.name";
    const policy = {
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: 'ValidatingAdmissionPolicy',
      metadata: { name: policyName },
      spec: {
        failurePolicy: 'Fail',
        matchConstraints: {
          namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': connector.namespace } },
          resourceRules: [
            { apiGroups: [''], apiVersions: ['v1'], operations: ['CREATE', 'UPDATE'], resources: ['secrets'] },
          ],
        },
        validations: [{ expression: "object.metadata.name != 'quoted'", messageExpression: expression }],
      },
    };
    const binding = {
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: 'ValidatingAdmissionPolicyBinding',
      metadata: { name: policyName },
      spec: { policyName, validationActions: ['Deny'] },
    };
    for (const one of [policy, binding]) {
      await connector.kubectl('apply', '-f', await connector.save(`${one.kind}.json`, JSON.stringify(one)));
    }
    await until('the policy to count', async () => {
      const file = await connector.save(
        'quoted.json',
        JSON.stringify({
          apiVersion: 'v1',
          kind: 'Secret',
          metadata: { name: 'quoted', namespace: connector.namespace },
          stringData: { password: 'x' },
        }),
      );
      return connector.kubectl('apply', '--dry-run=server', '-f', file).then(
        () => false,
        (error: Error) => error.message.includes('refused: '),
      );
    });
    const denied = await run(secret('quoted', { stringData: { password: quoted } }));
    expect(JSON.stringify(await connector.client.result(denied.wpkId))).toContain('PLAN_REJECTED');
    await byoc('show', denied.wpkId);

    const malformed = canary('a malformed package');
    const broken: ((text: string) => string)[] = [
      (text) => text.replace('"reason"', `"password":"${malformed}","reason"`),
      (text) => text.replace('"halt"', `"${malformed}"`),
      (text) => text.slice(0, -1).concat(`,"note":"${malformed}`),
      (text) => text.replace('"low"', `{"a":"${malformed}"}`),
    ];
    for (const breakIt of broken) {
      const bytes = Buffer.from(breakIt(JSON.stringify(connector.wpk())));
      const submitted = await connector.client.submit(signBytes(bytes, connector.prepared.privateKeyPem));
      workflows.push(submitted.workflowId);
      await connector.client.result(submitted.wpkId);
      await byoc('show', submitted.wpkId);
    }
    canaries.add('the private key of the signer', connector.prepared.privateKeyPem.split('\n')[1] ?? '');
    await byoc('list');
    await byoc('audit', 'verify', connector.prepared.auditDir);
    await byoc('audit', 'search', '--type', 'package', connector.prepared.auditDir);
  }

  /** Private keys where public ones belong, a secret_id that is wrong, a token that is revoked. */
  async function breakVault(): Promise<void> {
    const lost = generateKeyPair().privateKeyPem;
    canaries.add('a private key in Vault', lost.split('\n')[1] ?? '');
    await connector.putVaultEntry('approvers/lost', { pem: lost, identity: 'mallory@example.com' });
    await connector.putVaultEntry('signing-keys/lost', { pem: lost });
    await connector.stopWorker();
    const file = connector.prepared.env['VAULT_SECRET_ID_FILE_METRICS'] ?? '';
    const right = await readFile(file, 'utf8');
    await connector.save('vault/metrics.secret-id', canary('a wrong secret_id'));
    seen.push({ place: 'the log of the worker', text: await log() });
    await connector.startWorker();
    url = await agentUrl();
    const submitted = await run(secret('unverified', { stringData: { a: 'b' } }));
    await until('the broken key to be noticed', async () => (await connector.client.get(submitted.wpkId)).waiting);
    await byoc('show', submitted.wpkId);
    await connector.save('vault/metrics.secret-id', right);
    await callVault(
      connector.services.vault,
      'DELETE',
      `secret/metadata/byoc/${connector.clusterId}/signing-keys/lost`,
    );
    await callVault(connector.services.vault, 'DELETE', `secret/metadata/byoc/${connector.clusterId}/approvers/lost`);
    await connector.untilWaiting(submitted);
  }

  /** Registration, heartbeats and metrics, all of which are refused with a text that quotes. */
  async function letItWork(): Promise<void> {
    const asked = (path: string) => outside.requests.some((one) => one.path.startsWith(path));
    await until(
      'all parts to be talked to',
      async () => {
        for (const name of ['registration', 'heartbeat', 'metrics']) await trigger(name);
        return asked('/register') && asked('/healthz') && asked('/signals') && asked('/api/v1/query');
      },
      60_000,
    );
    await until('the alert', async () => (await log()).includes('"alert":"metrics-undelivered"'), 60_000);
  }

  /** Commands of people, right and wrong. */
  async function askThePeople(): Promise<void> {
    const key = generateKeyPair().privateKeyPem.replace('PRIVATE KEY', 'PUBLIC KEY');
    canaries.add('a private key that is called a public one', key.split('\n')[1] ?? '');
    const keyFile = await connector.save('broken.pem', key);
    await byoc('verify', '--key', keyFile, '--bundle', keyFile, keyFile);
    const lines = Object.entries(connector.prepared.env).map(([name, value]) => `${name}="${value}"`);
    await byoc('doctor', '--env-file', await connector.save('doctor.env', lines.join('\n')));
    await byoc(
      'doctor',
      '--env-file',
      await connector.save(
        'worse.env',
        [
          ...lines,
          `VAULT_TOKEN=${canary('VAULT_TOKEN')}`,
          `PROM_TOKEN=${canary('PROM_TOKEN')}`,
          'BYOC_AGENT_PORT=x',
        ].join('\n'),
      ),
    );
    await byoc(
      'plan',
      await connector.save(
        'plan.wpk.json',
        JSON.stringify(
          connector.wpk({ steps: [secret('planned', { stringData: { a: canary('a Secret that is planned') } })] }),
        ),
      ),
    );
    await answered('GET /metrics', '/metrics');
    const good = await issuer.token(`byoc/${connector.clusterId}`);
    await answered('GET /health', '/health', { headers: { authorization: `Bearer ${good}` } });
    seen.push({ place: 'the log of the worker', text: await log() });
  }

  const log = () => readFile(join(connector.prepared.folder, 'worker.log'), 'utf8');
  const textsAt = (place: string) =>
    seen
      .filter((one) => one.place.startsWith(place))
      .map(({ text }) => text)
      .join('\n');

  it('is found where it is, in whatever form: the search can fail', () => {
    const probe = new Canaries();
    probe.add('probe', 'c4nary-of-the-search');
    for (const text of [
      'a c4nary-of-the-search b',
      Buffer.from('xy c4nary-of-the-search z').toString('base64'),
      Buffer.from('x c4nary-of-the-search z').toString('base64url'),
      Buffer.from('c4nary-of-the-search').toString('hex'),
    ]) {
      expect(probe.in(text)).toEqual(['probe']);
    }
    expect(probe.in('nothing')).toEqual([]);
    expect(canaries.names.length).toBeGreaterThan(25);
    console.log(`${canaries.names.length} canaries: ${canaries.names.join(', ')}`);
  });

  it('is in no line of the log, on debug, with DEBUG=node-vault', async () => {
    const text = textsAt('the log');
    for (const word of [
      '"level":"debug"',
      '"alert":"refused"',
      'PLAN_REJECTED',
      'KEYS_UNAVAILABLE',
      'CONTROL_PLANE_DENIED',
      'INSIGHT_DENIED',
      'vault-login-refused',
    ]) {
      expect(text).toContain(word); // what would hold them did happen
    }
    expect(canaries.in(text)).toEqual([]);
  });

  it('is in no audit entry', async () => {
    const entries = await connector.audit();
    for (const type of [
      'vault.login-failed',
      'vote.recorded',
      'package.denied',
      'package.succeeded',
      'http.call',
      'authentication.failed',
    ]) {
      expect(entries.map((entry) => entry.type)).toContain(type);
    }
    expect(canaries.in(JSON.stringify(entries))).toEqual([]);
  });

  it('is in no answer over HTTP, and in no metric', () => {
    expect(textsAt('POST /execute')).toContain('application/problem+json');
    for (const place of ['POST /execute', 'GET /health', 'GET /nothing'])
      expect(canaries.in(textsAt(place))).toEqual([]);
    expect(textsAt('GET /metrics')).toContain('byoc_packages_total');
    expect(canaries.in(textsAt('GET /metrics'))).toEqual([]);
  });

  it('is in nothing that a command prints', () => {
    const texts = seen.filter(({ place }) => place.startsWith('byoc'));
    expect(texts.length).toBeGreaterThan(10);
    for (const { place, text } of texts) expect({ place, found: canaries.in(text) }).toEqual({ place, found: [] });
  });

  it('is on the disk of the worker nowhere: log, spools of alerts and metrics', async () => {
    const dataDir = connector.prepared.env['BYOC_DATA_DIR'] ?? '';
    const files: string[] = [];
    for await (const file of glob(join(dataDir, '**/*'))) if ((await stat(file)).isFile()) files.push(file);
    for (const folder of ['audit', 'alerts', 'metrics'])
      expect(files.some((file) => file.includes(`/${folder}/`))).toBe(true);
    for (const file of files) {
      const bytes = await readFile(file);
      const { gunzipSync } = await import('node:zlib');
      const text = bytes.subarray(0, 2).toString('hex') === '1f8b' ? gunzipSync(bytes).toString() : bytes.toString();
      expect({ file, found: canaries.in(text) }).toEqual({ file, found: [] });
    }
  });

  it('is in no history of Temporal but in what was sent in', async () => {
    const histories = [];
    for (const workflowId of workflows) {
      histories.push(await connector.client.client.workflow.getHandle(workflowId).fetchHistory());
    }
    const { recentActions } = (
      await connector.client.client.schedule.getHandle(scheduleIdOf(connector.clusterId, 'heartbeat')).describe()
    ).info;
    for (const { action } of recentActions) {
      if (action.type !== 'startWorkflow') continue;
      const { workflowId, firstExecutionRunId } = action.workflow;
      histories.push(await connector.client.client.workflow.getHandle(workflowId, firstExecutionRunId).fetchHistory());
    }
    let events = 0;
    for (const { events: all = [] } of histories) {
      for (const event of all ?? []) {
        events += 1;
        const isInput = (name: string) => name === 'input';
        const written = textsIn(event, isInput);
        expect({ event: event.eventType, found: canaries.in(written) }).toEqual({ event: event.eventType, found: [] });
        // Also of what was sent in, only what the package or the vote held.
        expect(canaries.in(textsIn(event), [...OF_PACKAGES, 'a Secret that a caller sends'])).toEqual([]);
      }
    }
    expect(events).toBeGreaterThan(50);
  });
});

/** All texts of an event, what payloads hold included; members that are named are left out. */
function textsIn(value: unknown, leaveOut: (name: string) => boolean = () => false): string {
  if (typeof value === 'string') return value;
  if (value instanceof Uint8Array) return Buffer.from(value).toString('utf8');
  if (typeof value !== 'object' || value === null) return '';
  return Object.entries(value)
    .filter(([name]) => !leaveOut(name))
    .map(([, inner]) => textsIn(inner, leaveOut))
    .join('\n');
}
