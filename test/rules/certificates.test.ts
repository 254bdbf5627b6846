import { describe, expect, it } from '@jest/globals';
import pino from 'pino';
import type { CertificateFacts } from '../../activities/tls/material.ts';
import { Health } from '../../domain/health.ts';
import { Certificates } from '../../worker/certificates.ts';
import { createMetrics } from '../../worker/metrics/registry.ts';

// R23, R24

const NOW = Date.parse('2026-11-29T12:00:00Z');
const DAY_MS = 86_400_000;
const days = (count: number) => new Date(NOW + count * DAY_MS);

/** One that was made `age` days ago and is good for `left` more. */
function facts(age: number, left: number, more: Partial<CertificateFacts> = {}): CertificateFacts {
  return { kind: 'client', notBefore: days(-age), notAfter: days(left), fingerprint: 'a'.repeat(64), ...more };
}

function watching() {
  const entries: { readonly type: string; readonly detail: unknown }[] = [];
  const metrics = createMetrics();
  const health = new Health(() => new Date(NOW));
  let now = NOW;
  const certificates = new Certificates({
    metrics,
    health,
    logger: pino({ enabled: false }),
    now: () => new Date(now),
  });
  certificates.recordThrough((type, detail) => {
    entries.push({ type, detail });
    return Promise.resolve();
  });
  return {
    entries,
    certificates,
    metrics,
    passTo: (moment: Date) => (now = moment.getTime()),
    found: () => health.components().find(({ name }) => name === 'certificates'),
  };
}

describe('a certificate', () => {
  it.each([
    ['a year, 15 days left', 350, 15, 'ok'],
    ['a year, 13 days left', 352, 13, 'degraded'],
    ['30 days, 7 left', 23, 7, 'ok'],
    ['30 days, 5 left', 25, 5, 'degraded'],
    ['a day, 6 hours left', 0.75, 0.25, 'ok'],
    ['a day, 2 hours left', 22 / 24, 2 / 24, 'degraded'],
    ['a year, over since yesterday', 366, -1, 'degraded'],
  ])('of %s: the health tells it in time', (_, age, left, state) => {
    const { certificates, found } = watching();
    certificates.watchOf('vault').onCertificate(facts(age, left));
    expect(found()?.state).toBe(state);
  });

  it('that ends soon is told of once, and once more when it has ended', () => {
    const { certificates, entries, found, passTo } = watching();
    const watch = certificates.watchOf('vault');
    watch.onCertificate(facts(300, 10));
    watch.onCertificate(facts(300, 10));
    const detail = { part: 'vault', kind: 'client', notAfter: days(10).toISOString(), daysLeft: 10 };
    expect(entries).toEqual([{ type: 'certificate.expiring', detail }]);
    expect(found()?.sentence).toBe('Certificates end soon: vault client.');
    passTo(days(11));
    watch.onCertificate(facts(300, 10));
    expect(entries.slice(1)).toEqual([{ type: 'certificate.expiring', detail: { ...detail, daysLeft: 0 } }]);
    expect(found()?.sentence).toBe('Certificates have ended: vault client.');
  });

  it('that another one replaced is forgotten, and the change is told of', () => {
    const { certificates, entries, found } = watching();
    const watch = certificates.watchOf('s3');
    watch.onCertificate(facts(300, 10));
    watch.onCertificate(facts(0, 90, { fingerprint: 'b'.repeat(64) }));
    expect(found()).toMatchObject({ state: 'ok' });
    expect(entries.at(-1)).toEqual({
      type: 'certificate.changed',
      detail: { part: 's3', kind: 'client', fingerprint: `sha256:${'b'.repeat(64)}`, notAfter: days(90).toISOString() },
    });
  });

  it('of a server may be another one each time: its names may be many machines', () => {
    const { certificates, entries } = watching();
    const watch = certificates.watchOf('s3');
    watch.onCertificate(facts(0, 90, { kind: 'server' }));
    watch.onCertificate(facts(0, 80, { kind: 'server', fingerprint: 'b'.repeat(64) }));
    expect(entries).toEqual([]);
  });

  it('has a metric of its part and kind', async () => {
    const { certificates, metrics } = watching();
    certificates.watchOf('kubernetes').onCertificate(facts(0, 90, { kind: 'ca' }));
    expect(await metrics.render()).toContain(
      `byoc_certificate_expires_timestamp_seconds{part="kubernetes",kind="ca"} ${days(90).getTime() / 1000}`,
    );
  });
});

describe('files that cannot be used', () => {
  it('degrade the health until they can be, and are told of', () => {
    const { certificates, entries, found } = watching();
    const watch = certificates.watchOf('prometheus');
    watch.onTrouble(new Error('the file with the client certificate cannot be read'));
    expect(found()?.sentence).toBe('Changed certificate files cannot be used: prometheus.');
    expect(entries).toEqual([
      {
        type: 'certificate.unusable',
        detail: { part: 'prometheus', said: 'the file with the client certificate cannot be read' },
      },
    ]);
    watch.onTrouble(undefined);
    expect(found()).toMatchObject({ state: 'ok' });
  });
});

describe('certificates of Temporal that its own client takes and ours cannot read', () => {
  it('are trouble until there are others, and keep no connection from taking over', () => {
    const { certificates, found } = watching();
    const watch = certificates.temporalWatch();
    const connectWith = (tls: object) =>
      watch.onConnected?.({
        address: '127.0.0.1:1',
        namespace: 'default',
        connectionOptions: { address: '127.0.0.1:1', tls },
        fingerprint: '',
      });
    const ca = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----';
    connectWith({ serverRootCACertificate: Buffer.from(ca) });
    expect(found()).toMatchObject({ state: 'degraded', sentence: expect.stringContaining('temporal') as unknown });
    connectWith({});
    expect(found()?.state).toBe('ok');
    certificates.close();
  });
});
