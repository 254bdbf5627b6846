import { generateKeyPairSync, hash, sign } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { request } from 'undici';
import { createControlPlane } from '../../../activities/control-plane/client.ts';
import type { ControlPlane } from '../../../activities/control-plane/client.ts';
import type { Identity } from '../../../activities/vault/identity.ts';
import { clusterAt, headsAt, order } from '../../../dev/servers/control-plane.ts';
import type { Services } from '../../../dev/stack.ts';
import type { AuditHead } from '../../../domain/audit.ts';
import { signHead } from '../../../domain/audit-head.ts';
import type { HeadKey } from '../../../domain/audit-head.ts';
import { CLUSTER_CLAIM, CONTROL_PLANE_AUDIENCE } from '../../../domain/control-plane.ts';
import { asyncErrorOf } from '../../support/expect-code.ts';
import {
  alertSignal,
  heartbeatOf,
  newCluster,
  OwnControlPlane,
  registrationOf,
  tokenFor,
} from '../../support/control-plane.ts';
import { sharedServices } from '../../support/stack.ts';
import { until } from '../../support/until.ts';
import { callVault } from '../../support/vault.ts';

// R12, R13, R23, R36: the reference control plane, spoken to by the connector's own client through its TLS

let services: Services;
const opened: { close(): Promise<void> }[] = [];

beforeAll(async () => {
  services = await sharedServices();
});
afterAll(async () => {
  for (const one of opened) await one.close();
});

function connect(
  identity: Identity,
  url = services.controlPlane.url,
  ca: string | undefined = services.controlPlane.caFile,
): ControlPlane {
  const client = createControlPlane({ url, tls: { ca }, identity });
  opened.push(client);
  return client;
}

async function registeredCluster(more: Parameters<typeof registrationOf>[1] = {}) {
  const { clusterId, identity } = await newCluster(services.vault);
  const client = connect(identity);
  await client.register(registrationOf(clusterId, more));
  return { clusterId, identity, client };
}

describe('the reference control plane', () => {
  it('registers a cluster, takes its beats and says that it is alive', async () => {
    const { clusterId, client } = await registeredCluster();
    await client.beat(heartbeatOf(clusterId, { packages: { 'awaiting-approval': 2 } }));
    const known = await clusterAt(services.controlPlane, clusterId);
    expect(known).toMatchObject({ liveness: 'alive', lastBeat: { packages: { 'awaiting-approval': 2 } } });
    expect(known?.beats).toHaveLength(1);
    expect(Math.abs(client.clockOffsetMs() ?? Infinity)).toBeLessThan(1_000);
  });

  it('takes a registration again, as often as it comes', async () => {
    const { clusterId, client } = await registeredCluster();
    await client.register(registrationOf(clusterId, { hostname: 'worker-1' }));
    const known = await clusterAt(services.controlPlane, clusterId);
    expect(known?.registration.hostname).toBe('worker-1');
    expect(known?.registeredAt).not.toBe(known?.renewedAt);
  });

  it('refuses another cluster under the same id', async () => {
    const { clusterId, client } = await registeredCluster();
    const other = client.register(registrationOf(clusterId, { clusterUid: 'another' }));
    expect((await asyncErrorOf(() => other)).code).toBe('CONTROL_PLANE_CONFLICT');
  });

  it('does not know beats of a cluster that is not registered', async () => {
    const { clusterId, identity } = await newCluster(services.vault);
    const beat = connect(identity).beat(heartbeatOf(clusterId));
    expect((await asyncErrorOf(() => beat)).code).toBe('CONTROL_PLANE_NOT_REGISTERED');
  });

  it('keeps an alert once, however often it is sent, and refuses another one under its id', async () => {
    const { clusterId, client } = await registeredCluster();
    await client.signal(alertSignal(clusterId, 'a-1'));
    await client.signal(alertSignal(clusterId, 'a-1'));
    const other = alertSignal(clusterId, 'a-1');
    if (other.kind === 'alert') other.alert = { ...other.alert, type: 'frozen' };
    expect((await asyncErrorOf(() => client.signal(other))).code).toBe('CONTROL_PLANE_CONFLICT');
    expect((await clusterAt(services.controlPlane, clusterId))?.alerts).toMatchObject([
      { id: 'a-1', type: 'package-denied' },
    ]);
  });

  it('takes batches of metrics', async () => {
    const { clusterId, client } = await registeredCluster();
    const series = [{ name: 'up', labels: { job: 'node' }, samples: [[1_700_000_000_000, 1]] }];
    const batch = { id: 'b-1', collectedAt: '2026-01-31T12:00:00.000Z', series };
    await client.signal({ clusterId, kind: 'metrics', batch });
    expect((await clusterAt(services.controlPlane, clusterId))?.batches).toEqual(['b-1']);
  });
});

describe('a token', () => {
  const denied = async (token: string, clusterId: string) => {
    const client = connect({ token: () => Promise.resolve(token) });
    return (await asyncErrorOf(() => client.register(registrationOf(clusterId)))).message;
  };

  it.each([
    ['missing', ''],
    ['that is none', 'abc'],
    ['without a signature', `${part({ alg: 'none' })}.${part({ [CLUSTER_CLAIM]: 'c' })}.`],
  ])('%s is refused with 401', async (_, token) => {
    expect(await denied(token, 'c')).toContain('401');
  });

  it('of another cluster is refused with 403', async () => {
    const { identity } = await newCluster(services.vault);
    expect(await denied(await identity.token(), 'another-cluster')).toContain('403');
  });

  it('for another service is refused with 401, and one for metrics with 403', async () => {
    for (const [audience, status] of [
      ['somebody-else', '401'],
      ['neuralops-insight', '403'],
    ] as const) {
      const { clusterId } = await newCluster(services.vault);
      const token = await tokenFor(services.vault, { clusterId, audience });
      expect(await denied(token, clusterId)).toContain(status);
    }
  });

  it('is taken until it expires, and then refused', async () => {
    const { clusterId } = await newCluster(services.vault);
    const token = await tokenFor(services.vault, { clusterId, tokenTtl: '2s' });
    const own = await OwnControlPlane.start(services.vault, { clockToleranceSeconds: 0 });
    try {
      const client = connect({ token: () => Promise.resolve(token) }, own.url, undefined);
      await client.register(registrationOf(clusterId));
      await until(
        'the token to be refused',
        async () => (await outcomeOf(client, clusterId)) === 'CONTROL_PLANE_DENIED',
      );
    } finally {
      await own.stop();
    }
  });

  it('by a key that Vault does not publish is refused with 401, whatever it calls itself', async () => {
    const { clusterId, identity } = await newCluster(services.vault);
    const [head = '', body = ''] = (await identity.token()).split('.');
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const signature = sign('sha256', Buffer.from(`${head}.${body}`), { key: privateKey, dsaEncoding: 'ieee-p1363' });
    expect(await denied(`${head}.${body}.${signature.toString('base64url')}`, clusterId)).toContain('401');

    const own = await generateKeyPair('ES256');
    const jwk = await exportJWK(own.publicKey);
    const forged = await new SignJWT({ [CLUSTER_CLAIM]: clusterId })
      .setProtectedHeader({ alg: 'ES256', jwk, kid: 'mine' })
      .setIssuer(`${services.vault.address}/v1/identity/oidc`)
      .setAudience(CONTROL_PLANE_AUDIENCE)
      .setSubject('x')
      .setIssuedAt()
      .setExpirationTime('1h')
      .sign(own.privateKey);
    expect(await denied(forged, clusterId)).toContain('401');
  });

  it('that the operator of the control plane revoked is refused, and one that is issued later is not', async () => {
    const { clusterId, client, identity } = await registeredCluster();
    await order(services.controlPlane, clusterId, 'revoke');
    expect((await asyncErrorOf(() => client.beat(heartbeatOf(clusterId)))).code).toBe('CONTROL_PLANE_DENIED');
    expect(await denied(await identity.token(), clusterId)).toContain('401');

    await until('a second to pass', async () => {
      const { issuedAt } = payloadOf(await tokenFor(services.vault, { clusterId }));
      return issuedAt > payloadOf(await identity.token()).issuedAt + 1;
    });
    const fresh = connect({ token: () => tokenFor(services.vault, { clusterId }) });
    await fresh.beat(heartbeatOf(clusterId));
  });

  it('whose key was taken out of Vault is refused once that is noticed', async () => {
    const { clusterId } = await newCluster(services.vault);
    const key = `own-${clusterId}`;
    await callVault(services.vault, 'POST', `identity/oidc/key/${key}`, {
      algorithm: 'ES256',
      allowed_client_ids: '*',
    });
    const token = await tokenFor(services.vault, { clusterId, key });
    const own = await OwnControlPlane.start(services.vault, { keysMaxAgeMs: 500 });
    try {
      const client = connect({ token: () => Promise.resolve(token) }, own.url, undefined);
      await client.register(registrationOf(clusterId));
      await callVault(services.vault, 'DELETE', `identity/oidc/role/role-${clusterId}`);
      await callVault(services.vault, 'DELETE', `identity/oidc/key/${key}`);
      await until('the key to be missed', async () => (await outcomeOf(client, clusterId)) === 'CONTROL_PLANE_DENIED');
    } finally {
      await own.stop();
    }
  });
});

describe('what is sent', () => {
  const post = async (identity: Identity, headers: Record<string, string>, body: string | Uint8Array) => {
    const own = await OwnControlPlane.start(services.vault);
    try {
      const authorization = `Bearer ${await identity.token()}`;
      const answer = await request(`${own.url}/register`, {
        method: 'POST',
        headers: { authorization, 'content-type': 'application/json', ...headers },
        body,
      });
      return { status: answer.statusCode, problem: (await answer.body.json()) as object };
    } finally {
      await own.stop();
    }
  };

  it.each([
    ['no JSON', {}, '{', 400],
    ['not what it must be', {}, '{}', 400],
    ['larger than 1 MiB', {}, 'x'.repeat(1024 * 1024 + 1), 413],
    [
      'small and unpacks to more than 8 MiB',
      { 'content-encoding': 'gzip' },
      gzipSync(Buffer.alloc(9 * 1024 * 1024)),
      413,
    ],
    ['no gzip at all', { 'content-encoding': 'gzip' }, 'x', 400],
    ['of another type', { 'content-type': 'text/plain' }, '{}', 415],
    ['packed in another way', { 'content-encoding': 'br' }, '{}', 415],
  ] as const)('that is %s is refused', async (_, headers, body, status) => {
    const { identity } = await newCluster(services.vault);
    const answer = await post(identity, headers, body);
    expect(answer).toEqual({
      status,
      problem: expect.objectContaining({ status, type: expect.stringMatching(/^https:/) }),
    });
    expect(JSON.stringify(answer.problem)).not.toMatch(/stack|node|Expected/);
  });
});

describe('a cluster that sends too much', () => {
  it('is told to wait, and waits without asking again', async () => {
    const own = await OwnControlPlane.start(services.vault, { requestsPerMinute: 2 });
    try {
      const { clusterId, identity } = await newCluster(services.vault);
      const client = connect(identity, own.url, undefined);
      const send = () => client.register(registrationOf(clusterId));
      // A minute may end between the calls, which gives two more.
      const refusal = await until('a refusal', () =>
        send().then(
          () => undefined,
          (error: { code: string }) => error,
        ),
      );
      expect(refusal.code).toBe('CONTROL_PLANE_BUSY');
      const asked = own.refused.length;
      expect((await asyncErrorOf(send)).code).toBe('CONTROL_PLANE_BUSY');
      expect(own.refused).toHaveLength(asked);
    } finally {
      await own.stop();
    }
  });
});

describe('a cluster that falls silent', () => {
  it('is alive, stale, dead, and alive again with its next beat', async () => {
    const own = await OwnControlPlane.start(services.vault, { liveness: { alive: 400, stale: 1_200 } });
    try {
      const { clusterId, identity } = await newCluster(services.vault);
      const client = connect(identity, own.url, undefined);
      const seen: unknown[] = [];
      const livenessNow = async () => {
        const answer = await fetch(`${own.url}/clusters/${clusterId}`, {
          headers: { authorization: `Bearer ${own.operatorToken}` },
        });
        const { liveness } = (await answer.json()) as { liveness: string };
        if (seen.at(-1) !== liveness) seen.push(liveness);
        return liveness;
      };
      await client.register(registrationOf(clusterId));
      await client.beat(heartbeatOf(clusterId));
      await until('it to be dead', async () => (await livenessNow()) === 'dead');
      await client.beat(heartbeatOf(clusterId));
      await livenessNow();
      expect(seen).toEqual(['alive', 'stale', 'dead', 'alive']);
    } finally {
      await own.stop();
    }
  });
});

describe('the heads of an audit log', () => {
  const key = headKey();
  const other = headKey();
  const headAt = (clusterId: string, seq: number, content: string): AuditHead => ({
    chain: `${clusterId}.worker-0`,
    seq,
    hash: `sha256:${hash('sha256', content, 'hex')}`,
  });
  const signed = (head: AuditHead, by = key) => signHead(head, new Date().toISOString(), by);
  const alarmsOf = async (clusterId: string) =>
    (await clusterAt(services.controlPlane, clusterId))?.alarms.map(({ kind }) => kind);

  it('that go on raise no alarm', async () => {
    const { clusterId, client } = await registeredCluster({ auditKeys: [key.publicKeyPem] });
    for (const seq of [1, 5, 5, 9])
      await client.beat(heartbeatOf(clusterId, { heads: [signed(headAt(clusterId, seq, `${seq}`))] }));
    expect(await alarmsOf(clusterId)).toEqual([]);
    expect(JSON.parse(await headsAt(services.controlPlane, clusterId))).toMatchObject([{ head: { seq: 9 } }]);
  });

  it.each([
    ['a log that ends earlier than it did', 'truncated', (id: string) => signed(headAt(id, 5, 'five'))],
    ['a log that was written anew', 'forked', (id: string) => signed(headAt(id, 9, 'another nine'))],
    ['a head by a key that is not registered', 'forged', (id: string) => signed(headAt(id, 10, 'ten'), other)],
    ["another cluster's log", 'foreign', () => signed(headAt('somebody-else', 1, 'one'))],
  ])('of %s raise the alarm %s, also after a restart of the control plane', async (_, kind, then) => {
    const own = await OwnControlPlane.start(services.vault);
    try {
      const { clusterId, identity } = await newCluster(services.vault);
      const client = connect(identity, own.url, undefined);
      await client.register(registrationOf(clusterId, { auditKeys: [key.publicKeyPem] }));
      for (const [seq, content] of [
        [1, 'one'],
        [9, 'nine'],
      ] as const) {
        await client.beat(heartbeatOf(clusterId, { heads: [signed(headAt(clusterId, seq, content))] }));
      }
      await own.goAway();
      await own.comeBack();
      for (let times = 0; times < 2; times++) await client.beat(heartbeatOf(clusterId, { heads: [then(clusterId)] }));
      const answer = await fetch(`${own.url}/clusters/${clusterId}`, {
        headers: { authorization: `Bearer ${own.operatorToken}` },
      });
      expect(((await answer.json()) as { alarms: { kind: string }[] }).alarms.map((alarm) => alarm.kind)).toEqual([
        kind,
      ]);
    } finally {
      await own.stop();
    }
  });

  it('by another key than before are taken, and the change raises an alarm', async () => {
    const { clusterId, client } = await registeredCluster({ auditKeys: [key.publicKeyPem] });
    await client.register(registrationOf(clusterId, { auditKeys: [other.publicKeyPem] }));
    await client.beat(heartbeatOf(clusterId, { heads: [signed(headAt(clusterId, 1, 'one'), other)] }));
    expect(await alarmsOf(clusterId)).toEqual(['key-changed']);
  });
});

describe('its operator', () => {
  it('is nobody without the token of an operator, and no connector is one', async () => {
    const { identity } = await newCluster(services.vault);
    const own = await OwnControlPlane.start(services.vault);
    try {
      for (const authorization of ['', `Bearer ${await identity.token()}`]) {
        expect((await fetch(`${own.url}/clusters`, { headers: { authorization } })).status).toBe(401);
      }
    } finally {
      await own.stop();
    }
  });
});

/** How a registration ends: taken, or a code. */
function outcomeOf(client: ControlPlane, clusterId: string): Promise<string> {
  const taken = client.register(registrationOf(clusterId));
  return taken.then(
    () => 'taken',
    (error: { code: string }) => error.code,
  );
}

function payloadOf(token: string): { readonly issuedAt: number } {
  const { iat } = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as { iat: number };
  return { issuedAt: iat };
}

function part(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

function headKey(): HeadKey {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const keyId = `sha256:${hash('sha256', publicKey.export({ type: 'spki', format: 'der' }), 'hex')}` as const;
  const publicKeyPem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
  return { keyId, publicKeyPem, sign: (text) => sign(null, Buffer.from(text), privateKey).toString('base64') };
}
