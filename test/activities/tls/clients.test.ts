import { X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { gzipSync } from 'node:zlib';
import { KubeConfig } from '@kubernetes/client-node';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { errors } from 'jose';
import { createControlPlane } from '../../../activities/control-plane/client.ts';
import { createInsight } from '../../../activities/insight/client.ts';
import { createKubeApi } from '../../../activities/kubernetes/kube-api.ts';
import { createPrometheus } from '../../../activities/prometheus/client.ts';
import { openBucket } from '../../../activities/s3/bucket.ts';
import { createTlsContext } from '../../../activities/tls/context.ts';
import { createVault } from '../../../activities/vault/vault.ts';
import type { Authority, Certificate } from '../../../dev/authority.ts';
import { createAuthority } from '../../../dev/authority.ts';
import type { Services, Stack } from '../../../dev/stack.ts';
import { ConnectorError } from '../../../domain/errors.ts';
import type { TlsFiles } from '../../../domain/tls-settings.ts';
import { createKeySet } from '../../../worker/agent/key-set.ts';
import { newCluster, registrationOf } from '../../support/control-plane.ts';
import { asyncErrorOf } from '../../support/expect-code.ts';
import { callOverAndOver } from '../../support/over-and-over.ts';
import { ownStack, sharedServices } from '../../support/stack.ts';
import { TestTlsFiles } from '../../support/tls-files.ts';
import { TlsFront } from '../../support/tls-front.ts';
import { until } from '../../support/until.ts';

// R23: every client of ours before the real server that it is for, with TLS before that one that may be anything

/** One client, opened towards an address. */
interface Opened {
  /** Something small that the server answers. */
  call(): Promise<unknown>;
  close(): Promise<void> | void;
}

interface Kind {
  readonly name: string;
  /** What it says where nothing comes about. */
  readonly code: string;
  readonly server: () => { readonly address: string; readonly caFile: string };
  readonly open: (address: string, tls: TlsFiles) => Promise<Opened>;
  /** How soon a changed file counts. */
  readonly noticedWithinMs: number;
}

const LIMITS = { seriesPerQuery: 10, bytesPerQuery: 100_000, queryTimeoutSeconds: 5 } as never;
const SOON_MS = 5_000;

let services: Services;
let prometheus: Stack;
let files: TestTlsFiles;
let authority: Authority;
let stranger: Authority;
let good: Certificate;

beforeAll(async () => {
  services = await sharedServices();
  prometheus = await ownStack(['prometheus']);
  files = await TestTlsFiles.create();
  [authority, stranger] = [await createAuthority(), await createAuthority()];
  good = await authority.issue('front');
});
afterAll(async () => {
  await prometheus.stop();
  await files.remove();
});

const KINDS: readonly Kind[] = [
  {
    name: 'Vault',
    code: 'VAULT_UNAVAILABLE',
    server: () => services.vault,
    open: async (address, tls) => {
      const auth = { method: 'token', token: services.vault.token } as const;
      const vault = createVault({ address, tls, auth });
      return { call: () => vault.readSecret('secret', 'nothing'), close: () => vault.close() };
    },
    noticedWithinMs: SOON_MS,
  },
  {
    name: 'S3',
    code: 'S3_UNAVAILABLE',
    server: () => ({ address: services.s3.endpoint, caFile: services.s3.caFile }),
    open: async (endpoint, tls) => {
      const { bucket: name, region, accessKeyId, secretAccessKey } = services.s3;
      const bucket = openBucket({ bucket: name, region, endpoint, tls, credentials: { accessKeyId, secretAccessKey } });
      return { call: () => bucket.hasObjectLock(), close: () => bucket.close() };
    },
    noticedWithinMs: SOON_MS,
  },
  {
    name: 'the control plane',
    code: 'CONTROL_PLANE_UNAVAILABLE',
    server: () => ({ address: services.controlPlane.url, caFile: services.controlPlane.caFile }),
    open: async (url, tls) => {
      const { clusterId, identity } = await newCluster(services.vault);
      const controlPlane = createControlPlane({ url, tls, identity });
      return { call: () => controlPlane.register(registrationOf(clusterId)), close: () => controlPlane.close() };
    },
    noticedWithinMs: SOON_MS,
  },
  {
    // The reference control plane takes what is for it; of this batch it says that it is none, which is an answer.
    name: 'the Insight Engine',
    code: 'INSIGHT_UNAVAILABLE',
    server: () => ({ address: services.controlPlane.url, caFile: services.controlPlane.caFile }),
    open: async (address, tls) => {
      const { identity } = await newCluster(services.vault);
      const insight = createInsight({ address, tls }, identity, () => new Date());
      return { call: () => insight.send('one', gzipSync('{}')), close: () => insight.close() };
    },
    noticedWithinMs: SOON_MS,
  },
  {
    name: 'Prometheus',
    code: 'PROMETHEUS_UNAVAILABLE',
    server: () => prometheus.prometheus,
    open: async (address, tls) => {
      const { username, password } = prometheus.prometheus;
      const client = createPrometheus({ address, tls, auth: { method: 'basic', username, password } });
      return { call: () => client.query({ name: 'q', promql: 'up' }, new Date(), LIMITS), close: () => client.close() };
    },
    noticedWithinMs: SOON_MS,
  },
  {
    name: 'Kubernetes',
    code: 'KUBERNETES_UNAVAILABLE',
    server: () => ({ address: services.kubernetes.server, caFile: services.kubernetes.caFile }),
    open: async (server, tls) => {
      const admin = new KubeConfig();
      admin.loadFromFile(services.kubernetes.kubeconfig);
      const kubeConfig = new KubeConfig();
      kubeConfig.loadFromClusterAndUser(
        { name: 'front', server, skipTLSVerify: false, ...(tls.ca !== undefined && { caFile: tls.ca }) },
        {
          name: 'admin',
          token: admin.getCurrentUser()?.token ?? '',
          ...(tls.cert !== undefined && { certFile: tls.cert }),
          ...(tls.key !== undefined && { keyFile: tls.key }),
        },
      );
      const api = createKubeApi(kubeConfig);
      return { call: () => api.get('/api/v1/namespaces/default'), close: () => api.close() };
    },
    noticedWithinMs: 15_000, // credentials are used for 10 s
  },
];

/** Reads its keys every five minutes, so a certificate that changes while it runs is the table's below of all others. */
const CALLER_KEYS: Kind = {
  name: 'the keys of callers',
  code: 'CALLERS_UNAVAILABLE',
  server: () => services.vault,
  open: async (address, tls) => {
    const url = `${address}/v1/identity/oidc/.well-known/keys`;
    const keys = createKeySet({ url, tls }, () => undefined);
    const call = async () =>
      Promise.resolve(keys.keyFor({ alg: 'RS256', kid: 'none' }, undefined as never)).catch((error: unknown) => {
        if (!(error instanceof errors.JWKSNoMatchingKey)) throw error; // the keys were read, and this is none of them
      });
    return { call, close: () => keys.close() };
  },
  noticedWithinMs: 0,
};

/** The AWS SDK takes errors of Node for foreign ones here, where jest has an `Error` of its own, and wraps them. */
const NOT_VERIFIED =
  /does not verify \([A-Z_]+\)|CERT|UNABLE|INVALID_PURPOSE|AWS SDK error wrapper .*(certificate|altnames)/;

describe.each([...KINDS, CALLER_KEYS])('the client of $name', ({ code, server, open }) => {
  let front: TlsFront;
  let strict: TlsFront;
  let clientAuthority: Authority;

  beforeAll(async () => {
    clientAuthority = await createAuthority();
    front = await TlsFront.start(server(), good);
    strict = await TlsFront.start(server(), { ...good, clientCa: clientAuthority.ca });
  });
  afterAll(async () => {
    await front.close();
    await strict.close();
  });

  /** Calls once with what the files hold. */
  const calling = async (at: TlsFront, texts: TlsFiles, host = '127.0.0.1') => {
    const client = await open(`https://${host}:${at.port}`, await files.save(texts));
    try {
      return await client.call();
    } finally {
      await client.close();
    }
  };
  const refusal = (at: TlsFront, texts: TlsFiles) => asyncErrorOf(() => calling(at, texts));
  /** A refusal before anything of ours was sent: no handshake was completed. */
  const expectNothingSent = async (texts: TlsFiles) => {
    const before = front.accepted.length;
    const error = await refusal(front, texts);
    expect(error.code).toBe(code);
    const { cause } = error as { cause?: { code?: unknown; message?: unknown } }; // an error of Node's own
    expect(`${error.detail} ${String(cause?.code)} ${String(cause?.message)}`).toMatch(NOT_VERIFIED);
    expect(front.accepted).toHaveLength(before);
  };

  it('talks to a server that its authority vouches for', async () => {
    await calling(front, { ca: authority.ca });
    expect(front.accepted.length).toBeGreaterThan(0);
  });

  it('sends nothing to a server of another authority', async () => {
    await expectNothingSent({ ca: stranger.ca });
  });

  it.each([
    ['whose certificate has expired', () => authority.issue('front', { notAfter: new Date(Date.now() - 60_000) })],
    [
      'whose certificate is for another name',
      () => authority.issue('front', { names: [{ type: 'dns', value: 'x.test' }] }),
    ],
    ['that shows the certificate of a client', () => authority.issue('front', { use: 'client' })],
    ['that vouches for itself', () => stranger.issue('front')],
  ])('sends nothing to a server %s', async (_, issue) => {
    front.setCertificates(await issue());
    try {
      await expectNothingSent({ ca: authority.ca });
    } finally {
      front.setCertificates(good);
    }
  });

  it('shows its certificate to a server that wants one', async () => {
    const ours = await clientAuthority.issue('connector', { use: 'client' });
    await calling(strict, { ca: authority.ca, ...ours });
    expect(strict.accepted.at(-1)).toBe(new X509Certificate(ours.cert).serialNumber);
  });

  it.each([
    ['no certificate', () => undefined],
    ['one of another authority', () => stranger.issue('connector', { use: 'client' })],
    [
      'one that has expired',
      () => clientAuthority.issue('connector', { use: 'client', notAfter: new Date(Date.now() - 60_000) }),
    ],
  ])('is not served with %s where one is wanted', async (_, issue) => {
    const before = strict.accepted.length;
    const error = await refusal(strict, { ca: authority.ca, ...(await issue()) });
    expect(error.code).toBe(code);
    expect(strict.accepted).toHaveLength(before);
  });

  it('says which file cannot be used', async () => {
    const client = await open(`https://127.0.0.1:${front.port}`, { ca: files.nothing }).catch(
      (error: unknown) => error,
    );
    if (client instanceof ConnectorError) return expect(client.code).toBe('CONFIG_INVALID');
    const { call, close } = client as Opened;
    expect(['CONFIG_INVALID', code]).toContain((await asyncErrorOf(call)).code);
    await close();
  });
});

describe.each(KINDS)('the client of $name, while it runs', ({ server, open, noticedWithinMs }) => {
  it('shows another certificate, and believes another authority, once their files hold one; no call fails', async () => {
    const clients = await createAuthority();
    const [before, after] = [
      await clients.issue('connector', { use: 'client' }),
      await clients.issue('connector', { use: 'client' }),
    ];
    const front = await TlsFront.start(server(), { ...good, clientCa: clients.ca });
    const tls = await files.save({ ca: authority.ca, ...before });
    const client = await open(`https://127.0.0.1:${front.port}`, tls);
    const calling = callOverAndOver(() => client.call(), 3);
    try {
      const serial = new X509Certificate(after.cert).serialNumber;
      await until('the first calls', () => calling.calls > 10);
      expect(front.accepted).not.toContain(serial);
      // As a rotation is done: first both authorities are trusted, then the server changes over.
      await files.write(tls, { ca: `${stranger.ca}${authority.ca}`, ...after });
      await until('the new certificate', () => front.accepted.includes(serial), noticedWithinMs);
      front.setCertificates({ ...(await stranger.issue('front')), clientCa: clients.ca });
      const callsThen = calling.calls;
      await until('calls after that', () => calling.calls > callsThen + 20);
      expect(calling.failures).toEqual([]);
    } finally {
      await calling.stop();
      await client.close();
      await front.close();
    }
  }, 40_000);
});

describe('a file that is wrong for a while', () => {
  it('changes nothing until it is right, and is told of once', async () => {
    const clients = await createAuthority();
    const [before, after] = [
      await clients.issue('connector', { use: 'client' }),
      await clients.issue('connector', { use: 'client' }),
    ];
    const tls = await files.save({ ca: authority.ca, ...before });
    const troubles: (string | undefined)[] = [];
    const kinds: string[] = [];
    const context = createTlsContext(tls, {
      onCertificate: ({ kind }) => kinds.push(kind),
      onTrouble: (error) => troubles.push(error?.message),
    });
    const asIs = (await context.current()).cert;
    await files.write(tls, { cert: after.cert }); // its key comes later
    await until('the mismatch', async () => {
      expect((await context.current()).cert).toBe(asIs);
      return troubles.length > 0;
    });
    await files.write(tls, { key: after.key });
    await until('the new certificate', async () => (await context.current()).cert !== asIs);
    expect(troubles).toEqual([
      'the file with the key of the client certificate is not that of the certificate',
      undefined,
    ]);
    expect(kinds).toEqual(['ca', 'client', 'ca', 'client']);
  });
});

describe('authorities in one file', () => {
  it('all count, also where the line between them was left out', async () => {
    const tls = await files.save({ ca: `${stranger.ca.trimEnd()}${authority.ca.trimEnd()}` });
    const { ca = '' } = await createTlsContext(tls).current();
    expect(ca.match(/BEGIN CERTIFICATE/g)).toHaveLength(2);
    expect(() => createSecureContext({ ca })).not.toThrow();
    const front = await TlsFront.start(services.vault, good);
    const vault = createVault({
      address: `https://127.0.0.1:${front.port}`,
      tls,
      auth: { method: 'token', token: services.vault.token },
    });
    expect(await vault.readSecret('secret', 'nothing')).toBeUndefined();
    await vault.close();
    await front.close();
  });
});
