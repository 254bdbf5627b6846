import { X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Authority, Certificate } from '../../dev/authority.ts';
import { createAuthority } from '../../dev/authority.ts';
import { startWorker } from '../../dev/connector.ts';
import type { Services } from '../../dev/stack.ts';
import type { TlsFiles } from '../../domain/tls-settings.ts';
import { TestConnector } from '../support/connector.ts';
import { asyncErrorOf } from '../support/expect-code.ts';
import { applyStep, configMap } from '../support/packages.ts';
import { sharedServices } from '../support/stack.ts';
import { TestTlsFiles } from '../support/tls-files.ts';
import { TlsFront } from '../support/tls-front.ts';
import { until } from '../support/until.ts';

// R23, R24: a worker as a process of its own, whose certificates near their end and are replaced while it works

const HOUR_MS = 3_600_000;
const NOTICED_WITHIN_MS = 45_000;

describe('a worker whose certificate for Temporal ends soon', () => {
  let services: Services;
  let authority: Authority;
  let files: TestTlsFiles;
  let front: TlsFront;
  let old: Certificate;
  let tls: TlsFiles;
  let connector: TestConnector;

  beforeAll(async () => {
    services = await sharedServices();
    authority = await createAuthority();
    files = await TestTlsFiles.create();
    old = await authority.issue('connector', { use: 'client', notAfter: new Date(Date.now() + HOUR_MS) });
    tls = await files.save({ ca: authority.ca, ...old });
    const server = await authority.issue('temporal');
    front = await TlsFront.start(services.temporal, { ...server, clientCa: authority.ca, alpn: ['h2'] });
    connector = await TestConnector.start({
      clothes: 'development', // with certificates of the test's own
      env: {
        TEMPORAL_ADDRESS: `localhost:${front.port}`,
        TEMPORAL_TLS_SERVER_CA_CERT_PATH: tls.ca ?? '',
        TEMPORAL_TLS_CLIENT_CERT_PATH: tls.cert ?? '',
        TEMPORAL_TLS_CLIENT_KEY_PATH: tls.key ?? '',
        BYOC_AGENT_PORT: '0',
      },
    });
  });
  afterAll(async () => {
    try {
      await connector.stop();
    } finally {
      await front.close();
      await files.remove();
    }
  });

  const run = async (name: string) => {
    const waiting = await connector.submitAndPlan({
      steps: [applyStep(configMap(name, connector.namespace, { colour: 'blue' }))],
    });
    await connector.client.approve(waiting.wpkId, { approver: 'bob@example.com', planDigest: waiting.planDigest });
    return connector.client.result(waiting.wpkId);
  };
  const agent = async () => {
    const line = (await connector.log()).find(({ message }) => message === 'the agent listens');
    return `http://127.0.0.1:${String(line?.['port'])}`;
  };
  const expiryOf = async (part: string, kind: string) => {
    const text = await (await fetch(`${await agent()}/metrics`)).text();
    const series = `byoc_certificate_expires_timestamp_seconds{part="${part}",kind="${kind}"}`;
    return Number(
      text
        .split('\n')
        .find((line) => line.startsWith(series))
        ?.slice(series.length),
    );
  };

  it('tells of it: an alert, an entry of the audit log, and a metric for each certificate', async () => {
    const [entry] = await until('the entry', async () => {
      const found = (await connector.audit()).filter(({ type }) => type === 'certificate.expiring');
      return found.length > 0 && found;
    });
    const notAfter = new X509Certificate(old.cert).validToDate;
    expect(entry?.detail).toEqual({ part: 'temporal', kind: 'client', notAfter: notAfter.toISOString(), daysLeft: 0 });
    expect((await connector.log()).map(({ alert }) => alert)).toContain('certificate-expiring');
    expect(await expiryOf('temporal', 'client')).toBe(notAfter.getTime() / 1000);
    for (const [part, kind] of [
      ['temporal', 'ca'],
      ['temporal', 'server'],
      ['vault', 'ca'],
      ['vault', 'server'],
      ['s3', 'server'],
      ['kubernetes', 'server'],
    ] as const) {
      expect(await expiryOf(part, kind)).toBeGreaterThan(Date.now() / 1000);
    }
    const text = await (await fetch(`${await agent()}/metrics`)).text();
    expect(text).toContain('byoc_component_state{component="certificates",state="degraded"} 1');
  });

  it('works on with another one once the files hold it, and says that all is well again', async () => {
    expect(await run('before')).toMatchObject({ phase: 'succeeded' });
    const fresh = await authority.issue('connector', { use: 'client' });
    await files.write(tls, fresh);
    const serial = new X509Certificate(fresh.cert).serialNumber;
    await until('the new certificate', () => front.accepted.includes(serial), NOTICED_WITHIN_MS);
    front.drop(new X509Certificate(old.cert).serialNumber); // nothing that still goes the old way is needed
    expect(await run('after')).toMatchObject({ phase: 'succeeded' });
    const changed = (await connector.audit()).filter(({ type }) => type === 'certificate.changed');
    expect(changed).toMatchObject([{ detail: { part: 'temporal', kind: 'client' } }]);
    await until('the health', async () => {
      const text = await (await fetch(`${await agent()}/metrics`)).text();
      return text.includes('byoc_component_state{component="certificates",state="ok"} 1');
    });
    expect((await connector.log()).filter(({ level }) => level === 'error').map(({ alert }) => alert)).toEqual([
      'certificate-expiring',
    ]);
  }, 90_000);

  it('is not started again with files that cannot be used; it says which setting', async () => {
    await connector.stopWorker();
    const env = { ...connector.prepared.env, VAULT_CACERT: join(connector.prepared.folder, 'nothing') };
    const error = await asyncErrorOf(() => startWorker({ ...connector.prepared, env }));
    expect(error.detail).toMatch(/"code":"CONFIG_INVALID","message":"[^"]*VAULT_CACERT/);
  });
});
