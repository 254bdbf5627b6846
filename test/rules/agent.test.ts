import { readFile } from 'node:fs/promises';
import { describe, expect, it } from '@jest/globals';
import { pino } from 'pino';
import { z } from 'zod';
import { generateAgentOpenApi } from '../../dev/agent-openapi.ts';
import { AGENT_OPENAPI_FILE } from '../../dev/generate-schema.ts';
import type { AuditEvent } from '../../domain/audit.ts';
import { parseAuditEvent } from '../../domain/audit.ts';
import { ConnectorError, ERRORS, toProblem } from '../../domain/errors.ts';
import { Health, NEEDED, overallOf } from '../../domain/health.ts';
import { AccessLog } from '../../worker/agent/access-log.ts';
import { networkOf, RateLimit } from '../../worker/agent/rate-limit.ts';
import { AGENT_SETTINGS, agentConfigOf } from '../../worker/agent/settings.ts';
import { errorOf } from '../support/expect-code.ts';

// R15, R20, R25, R26

describe('a problem', () => {
  it('tells the sentence of the code and nothing of detail, place or cause', () => {
    const secret = 'vault-7.internal:8200';
    const error = new ConnectorError('POLICY_DENIED', secret, { place: { path: secret }, cause: new Error(secret) });
    expect(toProblem(error)).toEqual({
      type: 'https://neuralops.io/problems/policy-denied',
      title: ERRORS.POLICY_DENIED.sentence,
      status: 403,
      code: 'POLICY_DENIED',
    });
  });

  it('tells an error that is none of ours as INTERNAL', () => {
    expect(toProblem(new TypeError('at /srv/app'))).toMatchObject({ status: 500, code: 'INTERNAL' });
  });
});

describe('the health of a worker', () => {
  let time = 0;
  const now = () => new Date(time);
  const wellHealth = () => {
    const health = new Health(now);
    for (const name of NEEDED.execution) health.report(name, { state: 'ok' });
    return health;
  };

  it('is down until each part was looked at that packages need', () => {
    const health = new Health(now);
    expect(overallOf(health.components(), ['execution'])).toBe('down');
    for (const name of NEEDED.execution) {
      expect(overallOf(health.components(), ['execution'])).toBe('down');
      health.report(name, { state: 'ok' });
    }
    expect(overallOf(health.components(), ['execution'])).toBe('ok');
  });

  it.each(NEEDED.execution)('is down while %s is', (name) => {
    const health = wellHealth();
    health.report(name, { state: 'down', code: 'INTERNAL' });
    expect(overallOf(health.components(), ['execution'])).toBe('down');
  });

  it('is degraded while a part is away that packages can do without', () => {
    const health = wellHealth();
    health.report('control-plane', { state: 'down', code: 'INTERNAL' });
    expect(overallOf(health.components(), ['execution'])).toBe('degraded');
  });

  it('remembers since when a part is as it is, however often that is reported', () => {
    const health = new Health(now);
    health.report('vault', { state: 'down', code: 'VAULT_UNAVAILABLE' });
    time = 60_000;
    health.report('vault', { state: 'down', code: 'VAULT_UNAVAILABLE' });
    const sentence = ERRORS.VAULT_UNAVAILABLE.sentence;
    expect(health.components()).toEqual([
      { name: 'vault', state: 'down', since: new Date(0).toISOString(), code: 'VAULT_UNAVAILABLE', sentence },
    ]);
    health.report('vault', { state: 'ok' });
    expect(health.components()).toEqual([{ name: 'vault', state: 'ok', since: new Date(60_000).toISOString() }]);
  });
});

describe('the limit of calls', () => {
  it('lets an average through and a few at once, and says how long to wait', () => {
    const limit = new RateLimit({ perMinute: 60, burst: 3 });
    expect([1, 2, 3].map(() => limit.take('a', 0))).toEqual([0, 0, 0]);
    expect(limit.take('a', 0)).toBe(1);
    expect(limit.take('b', 0)).toBe(0);
    expect(limit.take('a', 999)).toBe(1);
    expect(limit.take('a', 1_000)).toBe(0);
    expect(limit.take('a', 1_000)).toBe(1);
  });

  it('never lets more through in a minute than the average and the burst', () => {
    const limit = new RateLimit({ perMinute: 60, burst: 10 });
    const taken = Array.from({ length: 6_000 }, (_, index) => limit.take('a', index * 10)).filter((wait) => wait === 0);
    expect(taken.length).toBeLessThanOrEqual(70);
    expect(taken.length).toBeGreaterThanOrEqual(69);
  });

  it('remembers a bounded number of callers', () => {
    const limit = new RateLimit({ perMinute: 1, burst: 1 });
    expect(limit.take('first', 0)).toBe(0);
    for (let caller = 0; caller < 5_000; caller++) limit.take(String(caller), 0);
    expect(limit.take('4999', 0)).toBeGreaterThan(0);
    expect(limit.take('first', 0)).toBe(0);
  });

  it.each([
    ['192.0.2.7', '192.0.2.7'],
    ['::ffff:192.0.2.7', '192.0.2.7'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8:1:2::6', '2001:db8:1:2::/64'],
    ['2001:db8::6', '2001:db8:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
  ])('counts %s as %s', (address, network) => {
    expect(networkOf(address)).toBe(network);
  });
});

describe('the settings of the agent', () => {
  const configOf = (env: Record<string, string>) => agentConfigOf(z.object(AGENT_SETTINGS).parse(env), 'prod-eu-1', {});
  const tls = { BYOC_AGENT_TLS_CERT: 'crt', BYOC_AGENT_TLS_KEY: 'key' };

  it('leave it out where there is no port', () => {
    expect(configOf(tls)).toBeUndefined();
  });

  it('let plain HTTP be had on this machine only, and TLS everywhere', () => {
    expect(configOf({ BYOC_AGENT_PORT: '8005' })).toMatchObject({ host: '127.0.0.1', tls: undefined });
    expect(configOf({ BYOC_AGENT_PORT: '8005', ...tls })).toMatchObject({ host: '::' });
  });

  it('ask for tokens that are meant for this cluster', () => {
    const jwt = { BYOC_AGENT_JWT_ISSUER: 'https://cp', BYOC_AGENT_JWT_KEYS: 'https://cp/keys' };
    expect(configOf({ BYOC_AGENT_PORT: '1', ...jwt })?.jwt).toMatchObject({ audience: 'byoc/prod-eu-1' });
  });

  it.each([
    ['plain HTTP in production', { NODE_ENV: 'production' }],
    ['plain HTTP for others', { BYOC_AGENT_HOST: '0.0.0.0' }],
    ['a certificate without its key', { BYOC_AGENT_TLS_CERT: 'crt' }],
    ['an authority without names', { ...tls, BYOC_AGENT_CLIENT_CA: 'ca' }],
    ['names of clients without TLS', { BYOC_AGENT_CLIENT_CA: 'ca', BYOC_AGENT_CLIENT_NAMES: 'DNS:cp' }],
    ['an issuer without keys', { BYOC_AGENT_JWT_ISSUER: 'https://cp' }],
    ['keys over plain HTTP', { BYOC_AGENT_JWT_ISSUER: 'https://cp', BYOC_AGENT_JWT_KEYS: 'http://cp/keys' }],
  ])('refuse %s', (_what, env) => {
    expect(errorOf(() => configOf({ BYOC_AGENT_PORT: '8005', ...env })).code).toBe('CONFIG_INVALID');
  });
});

describe('the access log', () => {
  const told: string[] = [];
  const logger = pino({ level: 'error' }, { write: (line) => told.push(line) });
  const refusedCall = (address: string) =>
    ({ method: 'POST', route: '/execute', status: 401, address, code: 'CALLER_UNAUTHENTICATED' }) as const;

  /** A log whose disk can be taken away. */
  function opened() {
    const written: AuditEvent[] = [];
    const disk = { isFull: false };
    const append = (event: AuditEvent) => {
      if (disk.isFull) return Promise.reject(new ConnectorError('AUDIT_UNAVAILABLE'));
      written.push(parseAuditEvent(event));
      return Promise.resolve();
    };
    return { log: new AccessLog({ writer: 'w', audit: { append }, logger }), written, disk };
  }
  const countIn = ({ detail }: AuditEvent) =>
    (detail['calls'] as { count: number }[]).reduce((sum, { count }) => sum + count, 0);

  it('tells a flood in one entry that counts each of it, and names the networks that most can be told of', async () => {
    const { log, written } = opened();
    for (let call = 0; call < 10_000; call++) log.count(refusedCall(`192.0.2.${call % 200}`));
    log.count({ method: 'GET', route: '/health', status: 200, address: '192.0.2.1' });
    await log.close();
    expect(written).toHaveLength(1);
    expect(told.map((line) => JSON.parse(line) as unknown)).toMatchObject([
      { alert: 'authentication-failed', count: 10_000 },
    ]);
    const [entry] = written;
    if (!entry) throw new Error('there is no entry');
    expect(countIn(entry)).toBe(10_001);
    expect(entry.detail['refusedFrom']).toHaveLength(21);
    expect(entry.detail['refusedFrom']).toContainEqual({ address: 'others', count: 9_000 });
    expect(JSON.stringify(entry).length).toBeLessThan(5_000);
  });

  it('keeps what it counted while the disk is full', async () => {
    const { log, written, disk } = opened();
    log.count(refusedCall('192.0.2.1'));
    disk.isFull = true;
    await log.flush();
    log.count(refusedCall('192.0.2.1'));
    disk.isFull = false;
    await log.close();
    expect(written.map(countIn)).toEqual([2]);
  });
});

describe('docs/agent.openapi.yaml', () => {
  it('is what the schemas of the API give (node dev/generate-schema.ts)', async () => {
    expect(await readFile(AGENT_OPENAPI_FILE, 'utf8')).toBe(generateAgentOpenApi());
  });
});
