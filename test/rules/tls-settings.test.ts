import { describe, expect, it } from '@jest/globals';
import { openSigner } from '../../client/signer.ts';
import { placeOf, readTemporalSettings } from '../../client/temporal-settings.ts';
import { TLS_SETTINGS, tlsFilesOf } from '../../domain/tls-settings.ts';
import type { TlsPart } from '../../domain/tls-settings.ts';
import { readConfig } from '../../worker/config.ts';
import { asyncErrorOf, errorOf } from '../support/expect-code.ts';

// R23

const PARTS = Object.entries(TLS_SETTINGS) as [TlsPart, (typeof TLS_SETTINGS)[TlsPart]][];
const VAULT = { VAULT_ADDR: 'https://vault.example.com', VAULT_ROLE_ID: 'role', VAULT_SECRET_ID: 'secret' };
const ALL = {
  ...VAULT,
  BYOC_CLUSTER_ID: 'c',
  BYOC_DATA_DIR: '/data',
  S3_BUCKET: 'audit',
  AWS_ENDPOINT_URL_S3: 'https://s3.example.com',
  CONTROL_PLANE_URL: 'https://cp.example.com',
  PROM_URL: 'https://prometheus.example.com',
  INSIGHT_URL: 'https://insight.example.com',
  BYOC_AGENT_PORT: '8005',
  BYOC_AGENT_JWT_ISSUER: 'https://cp.example.com',
  BYOC_AGENT_JWT_KEYS: 'https://cp.example.com/keys',
};

describe('a variable that would turn verification off', () => {
  it.each([
    ['NODE_TLS_REJECT_UNAUTHORIZED', '0'],
    ['VAULT_SKIP_VERIFY', 'true'],
    ['VAULT_SKIP_VERIFY', 'false'], // its name in the environment is a mistake in any case
    ['BAO_SKIP_VERIFY', '1'],
    ['TEMPORAL_TLS_DISABLE_HOST_VERIFICATION', 'true'],
    ['NODE_OPTIONS', '--max-old-space-size=200 --tls-min-v1.0'],
  ])('keeps the worker, and whoever talks to Temporal, from starting: %s=%s', (name, value) => {
    const env = { ...ALL, [name]: value };
    for (const read of [() => readConfig(env), () => readTemporalSettings(env)]) {
      const error = errorOf(read);
      expect(error.code).toBe('CONFIG_INVALID');
      expect(error.detail).toContain(name);
    }
  });

  it('is none where it says the opposite', () => {
    const env = {
      ...ALL,
      NODE_TLS_REJECT_UNAUTHORIZED: '1',
      TEMPORAL_TLS_DISABLE_HOST_VERIFICATION: 'false',
      NODE_OPTIONS: '--tls-min-v1.2',
    };
    expect(() => readConfig(env)).not.toThrow();
  });
});

describe('an address in clear', () => {
  it.each([
    ['VAULT_ADDR', 'http://vault.example.com'],
    ['AWS_ENDPOINT_URL_S3', 'http://s3.example.com'],
    ['CONTROL_PLANE_URL', 'http://cp.example.com'],
    ['PROM_URL', 'http://prometheus.monitoring:9090'],
    ['INSIGHT_URL', 'http://insight.example.com'],
    ['BYOC_AGENT_JWT_KEYS', 'http://cp.example.com/keys'],
    ['PROM_URL', 'ftp://127.0.0.1'],
    ['VAULT_ADDR', 'http://127.0.0.1.example.com'],
    ['VAULT_ADDR', 'http://localhost@vault.example.com'],
  ])('is refused: %s=%s', (name, value) => {
    const error = errorOf(() => readConfig({ ...ALL, [name]: value }));
    expect(error.code).toBe('CONFIG_INVALID');
    expect(error.detail).toContain(name);
  });

  it.each(['http://127.0.0.1:8200', 'http://localhost:8200', 'http://[::1]:8200'])(
    'is taken on this machine: %s',
    (address) => {
      expect(readConfig({ ...ALL, VAULT_ADDR: address }).vault?.address).toBe(address);
    },
  );

  it.each([
    [{ TEMPORAL_ADDRESS: 'temporal.example.com:7233' }],
    [{ TEMPORAL_ADDRESS: '10.0.0.7:7233' }],
    [{ TEMPORAL_ADDRESS: 'temporal.example.com:7233', TEMPORAL_TLS: 'false', TEMPORAL_API_KEY: 'key' }],
  ])('is refused for Temporal: %j', (env) => {
    expect(errorOf(() => readTemporalSettings(env)).code).toBe('CONFIG_INVALID');
  });

  it.each([
    [{}],
    [{ TEMPORAL_ADDRESS: '127.0.0.1:7233' }],
    [{ TEMPORAL_ADDRESS: 'temporal.example.com:7233', TEMPORAL_TLS: 'true' }],
    [{ TEMPORAL_ADDRESS: 'eu.tmprl.cloud:7233', TEMPORAL_API_KEY: 'key' }],
  ])('is not what these are: %j', (env) => {
    expect(() => readTemporalSettings(env)).not.toThrow();
  });
});

describe('the address of Temporal', () => {
  it.each([
    ['temporal.example.com:7233', 'temporal.example.com', 7233],
    ['temporal.example.com:443', 'temporal.example.com', 443],
    ['temporal.example.com', 'temporal.example.com', 7233],
    ['10.0.0.7:80', '10.0.0.7', 80],
    ['[2001:db8::7]:443', '2001:db8::7', 443],
    ['[::1]', '::1', 7233],
  ])('is looked at where clients connect: %s', (address, host, port) => {
    expect(placeOf(address)).toEqual({ host, port });
  });
});

describe('the files of a part', () => {
  it.each(PARTS)('are named by settings of one form: %s', (part, { ca, cert, key }) => {
    const files = { ca: '/ca', cert: '/cert', key: '/key' };
    expect(tlsFilesOf({ [ca]: files.ca, [cert]: files.cert, [key]: files.key }, part)).toEqual(files);
    expect(tlsFilesOf({ [ca]: '', [cert]: '' }, part)).toEqual({});
  });

  it.each(PARTS)('have a certificate and its key, or neither: %s', (part, { cert, key }) => {
    expect(errorOf(() => tlsFilesOf({ [cert]: '/cert' }, part)).detail).toBe(
      `${key} goes with ${cert}: set both or none.`,
    );
    expect(errorOf(() => tlsFilesOf({ [key]: '/key' }, part)).code).toBe('CONFIG_INVALID');
    expect(errorOf(() => readConfig({ ...ALL, [cert]: '/cert' })).detail).toContain(key);
  });

  it('reach every client', () => {
    const env = Object.fromEntries(PARTS.map(([part, { ca }]) => [ca, `/${part}`]));
    const { vault, registrationVault, s3, controlPlane, metrics, agent } = readConfig({ ...ALL, ...env });
    const keys = agent?.jwt?.keys;
    expect([vault?.tls, registrationVault?.tls]).toEqual([{ ca: '/vault' }, { ca: '/vault' }]);
    expect([s3?.tls, controlPlane?.tls]).toEqual([{ ca: '/s3' }, { ca: '/control-plane' }]);
    expect([metrics?.prometheus.tls, metrics?.insight.tls]).toEqual([{ ca: '/prometheus' }, { ca: '/insight' }]);
    expect(keys && 'url' in keys && keys.tls).toEqual({ ca: '/caller-keys' });
  });
});

describe('the API key in a file', () => {
  it.each([
    ['is not there', '/nowhere/api-key', {}, 'TEMPORAL_API_KEY_FILE names /nowhere/api-key: it does not exist.'],
    ['is empty', '/dev/null', {}, 'TEMPORAL_API_KEY_FILE names /dev/null, which holds no API key.'],
    [
      'is a text',
      import.meta.filename,
      {},
      `TEMPORAL_API_KEY_FILE names ${import.meta.filename}, which holds no API key.`,
    ],
    [
      'is not the only one',
      '/dev/null',
      { TEMPORAL_API_KEY: 'key' },
      'Of TEMPORAL_API_KEY and TEMPORAL_API_KEY_FILE only one may be set.',
    ],
  ])('that %s is told of', (_, file, others, detail) => {
    const env = { TEMPORAL_ADDRESS: 'eu.tmprl.cloud:7233', TEMPORAL_API_KEY_FILE: file, ...others };
    expect(errorOf(() => readTemporalSettings(env))).toMatchObject({ code: 'CONFIG_INVALID', detail });
  });
});

it('a file that a signer in Vault would need and is gone is named, with the setting', async () => {
  const env = { VAULT_ADDR: 'https://127.0.0.1:1', VAULT_TOKEN: 'token', VAULT_CACERT: '/nowhere/ca.pem' };
  const error = await asyncErrorOf(() => openSigner('hashivault://bob', env));
  expect(error).toMatchObject({
    code: 'CONFIG_INVALID',
    detail: 'VAULT_CACERT names /nowhere/ca.pem: it does not exist.',
  });
});
