import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Agent, request } from 'undici';
import { sha256 } from '../../client/sha256.ts';
import { clusterAt } from '../../dev/servers/control-plane.ts';
import type { PackageView } from '../../client/package-view.ts';
import { digestOfSteps } from '../../domain/policy.ts';
import { TestConnector } from '../support/connector.ts';
import type { WpkOptions } from '../support/packages.ts';
import { applyStep, configMap } from '../support/packages.ts';
import { trustingPolicy } from '../support/policies.ts';
import { shiftedClock } from '../support/shifted-clock.ts';
import { TokenIssuer } from '../support/token-issuer.ts';
import { until } from '../support/until.ts';

// R25, R35

const HOUR_MS = 3_600_000;
const BOB = 'bob@example.com';
const fromNow = (ms: number) => new Date(Date.now() + ms);

/** What is good for two hours on both sides of now is good by a clock that is an hour off. */
const GOOD_FOR_LONG: WpkOptions = { notBefore: fromNow(-2 * HOUR_MS), expiresAt: fromNow(2 * HOUR_MS) };

interface Misjudged {
  readonly does: string;
  readonly wpk: () => WpkOptions;
  readonly end: object;
}

const CLOCKS: readonly { readonly is: string; readonly byMs: number; readonly misjudged: readonly Misjudged[] }[] = [
  {
    is: 'an hour ahead',
    byMs: HOUR_MS,
    misjudged: [
      {
        does: 'denies what by it has expired',
        wpk: () => ({ expiresAt: fromNow(HOUR_MS / 2) }),
        end: { phase: 'denied', error: { code: 'WPK_EXPIRED' } },
      },
    ],
  },
  {
    is: 'an hour behind',
    byMs: -HOUR_MS,
    misjudged: [
      {
        does: 'denies what by it is not valid yet',
        wpk: () => ({}),
        end: { phase: 'denied', error: { code: 'WPK_NOT_YET_VALID' } },
      },
      {
        does: 'asks nobody about what has expired, because Temporal knows the time',
        wpk: () => ({ notBefore: fromNow(-2 * HOUR_MS), expiresAt: fromNow(-HOUR_MS / 2) }),
        end: { phase: 'expired' },
      },
    ],
  },
];

describe.each(CLOCKS)('a worker whose clock is $is', ({ byMs, misjudged }) => {
  let connector: TestConnector;
  let issuer: TokenIssuer;
  const dispatcher = new Agent();

  beforeAll(async () => {
    issuer = await TokenIssuer.create();
    connector = await TestConnector.start({
      clothes: 'development', // all roles in one process, which has the one wrong clock
      linked: true,
      env: {
        ...shiftedClock(byMs),
        BYOC_AGENT_PORT: '0',
        BYOC_AGENT_JWT_ISSUER: issuer.issuer,
        BYOC_AGENT_JWT_KEYS: 'jwks.json',
      },
      files: { 'jwks.json': await issuer.jwks() },
    });
  }, 60_000);
  afterAll(async () => {
    await connector.stop();
    await dispatcher.close();
  });

  async function carriedOut(name: string): Promise<PackageView> {
    const steps = [applyStep(configMap(name, connector.namespace, { colour: 'blue' }))];
    const one = await connector.submitAndPlan({ ...GOOD_FOR_LONG, steps });
    await connector.client.approve(one.wpkId, { approver: BOB, planDigest: one.planDigest });
    await connector.client.result(one.wpkId);
    return connector.client.get(one.wpkId);
  }
  const typesOf = async () => (await connector.audit()).map(({ type }) => type);

  it('is let in by Vault and the control plane, beats, and tells how far they are apart', async () => {
    const { controlPlane } = connector.services;
    const cluster = await until(
      'a beat that knows the difference',
      async () => {
        const found = await clusterAt(controlPlane, connector.clusterId);
        return found?.lastBeat?.clockOffsetMs === undefined ? undefined : found;
      },
      70_000,
    );
    expect(cluster.liveness).toBe('alive');
    expect(Math.abs((cluster.lastBeat?.clockOffsetMs ?? 0) + byMs)).toBeLessThan(30_000);
    const warning = "This machine's clock and the control plane's are far apart.";
    expect(JSON.stringify(await connector.log())).toContain(warning);
    for (const refused of ['authentication.failed', 'vault.login-failed', 'link.lost'])
      expect(await typesOf()).not.toContain(refused);
  }, 90_000);

  it('carries out what is valid by every clock, and what was decided is in the bucket before', async () => {
    expect(await carriedOut('valid')).toMatchObject({ phase: 'succeeded', approvers: [BOB] });
    expect(await connector.dataOf('valid')).toEqual({ colour: 'blue' });
    expect(await typesOf()).toContain('audit.uploaded');
    expect(await connector.byoc('audit', 'verify', connector.prepared.auditDir)).toMatchObject({ code: 0 });
  });

  it.each(misjudged)('$does', async ({ wpk, end }) => {
    const name = 'misjudged';
    const steps = [applyStep(configMap(name, connector.namespace, { colour: 'red' }))];
    const { wpkId } = await connector.submit({ ...wpk(), steps });
    expect(await connector.client.result(wpkId)).toMatchObject(end);
    expect(await connector.dataOf(name)).toBeUndefined();
  });

  it('executes nothing that the policy approves by itself and that has expired by any clock', async () => {
    const name = 'unattended';
    const steps = [applyStep(configMap(name, connector.namespace, { colour: 'red' }))];
    const expired = { notBefore: fromNow(-2 * HOUR_MS), expiresAt: fromNow(-HOUR_MS / 2), steps };
    const stepsDigest = digestOfSteps(sha256, connector.wpk(expired));
    await connector.setPolicy(trustingPolicy(`autoApprove: [{ playbook: settings, stepsDigest: '${stepsDigest}' }]`));
    const { wpkId } = await connector.submit(expired);
    expect(await connector.client.result(wpkId)).toMatchObject({ phase: 'denied', error: { code: 'WPK_EXPIRED' } });
    expect(await connector.dataOf(name)).toBeUndefined();
    await connector.setPolicy(trustingPolicy());
  });

  it('does not take the token of a caller that is good for five minutes of another hour', async () => {
    const found = await until('the agent', async () =>
      (await connector.log()).find(({ message }) => message === 'the agent listens'),
    );
    const answer = await request(`http://127.0.0.1:${String(found['port'])}/execute`, {
      dispatcher,
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        authorization: `Bearer ${await issuer.token(`byoc/${connector.clusterId}`)}`,
      },
      body: JSON.stringify(connector.signed(GOOD_FOR_LONG)),
    });
    expect(answer.statusCode).toBe(401);
    await answer.body.dump();
  });

  it('acknowledges a freeze of somebody with the right time, and goes on when it is lifted', async () => {
    const frozen = await connector.byoc('stop', '--all', '--reason', 'a test', '-o', 'json');
    expect(frozen).toMatchObject({ code: 0, stdout: expect.stringContaining('"frozen": true') });
    expect(await connector.byoc('resume', '--reason', 'a test')).toMatchObject({ code: 0 });
    expect(await carriedOut('after-the-freeze')).toMatchObject({ phase: 'succeeded' });
  });

  it('goes on with its log when the clock is set right, and says so where that went back', async () => {
    await connector.stopWorker();
    await connector.startWorker('worker-0', { NODE_OPTIONS: '' });
    expect(await carriedOut('right')).toMatchObject({ phase: 'succeeded' });
    const steps = (await typesOf()).filter((type) => type === 'audit.clock-stepped-back');
    expect(steps).toHaveLength(byMs > 0 ? 1 : 0);
    expect(await connector.byoc('audit', 'verify', connector.prepared.auditDir)).toMatchObject({ code: 0 });
  });
});
