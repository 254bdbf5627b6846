import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { loadMetricsConfig } from '../../activities/prometheus/load-config.ts';
import { DEFAULT_QUERIES } from '../../domain/metrics.ts';
import { ALLOWED_LABELS } from '../../domain/redact/labels.ts';
import { readConfig } from '../../worker/config.ts';

// R14, R23, R29

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'byoc-metrics-config-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function load(yaml: string) {
  const path = join(folder, 'metrics.yaml');
  await writeFile(path, yaml);
  return loadMetricsConfig(path);
}

describe('the file that says what is asked of Prometheus', () => {
  it('has a table of its own where there is none, or where it leaves something out', async () => {
    expect((await loadMetricsConfig(undefined)).queries).toEqual(DEFAULT_QUERIES);
    const config = await load('labels: [job]');
    expect(config.queries).toEqual(DEFAULT_QUERIES);
    expect(config.labels).toEqual(['job']);
    expect((await load('')).labels).toEqual(ALLOWED_LABELS);
  });

  it.each([
    ['an unknown field', 'querys: []', /querys/],
    ['no query', 'queries: []', /queries/],
    ['two queries of one name', 'queries: [{name: a, promql: up}, {name: a, promql: up}]', /different names/],
    [
      'more steps than there may be',
      'queries: [{name: a, promql: up, range: {lastSeconds: 3600, stepSeconds: 1}}]',
      /1,000 steps/,
    ],
    ['a way to redact that is none', 'redaction: {pii: keep}', /pii/],
    ['a limit above what a process can hold', 'limits: {bytesPerQuery: 1000000000}', /bytesPerQuery/],
    ['what is no YAML', 'queries: [', /not YAML/],
  ])('is refused with %s', async (_, yaml, message) => {
    await expect(load(yaml)).rejects.toEqual(
      expect.objectContaining({ code: 'CONFIG_INVALID', message: expect.stringMatching(message) }),
    );
  });

  it('is refused where it is not there', async () => {
    await expect(loadMetricsConfig(join(folder, 'none'))).rejects.toEqual(
      expect.objectContaining({ code: 'CONFIG_INVALID' }),
    );
  });
});

describe('settings of the metrics', () => {
  const base = { BYOC_CLUSTER_ID: 'c', BYOC_DATA_DIR: '/data', COSIGN_KEY: 'k' };
  const good = {
    ...base,
    PROM_URL: 'https://prometheus:9090',
    INSIGHT_URL: 'https://insight',
    VAULT_ADDR: 'https://vault:8200',
    VAULT_ROLE_ID: 'r',
    VAULT_SECRET_ID: 's',
  };
  it('are none without a Prometheus', () => {
    expect(readConfig(base).metrics).toBeUndefined();
  });
  it('are an hour and 24 MiB at most, unless told otherwise', () => {
    expect(readConfig(good).metrics?.insight).toMatchObject({ maxAgeMs: 3_600_000, maxBytes: 24 * 1024 * 1024 });
  });
  it.each<[string, Record<string, string>, RegExp]>([
    [
      'nowhere to send to in production',
      { INSIGHT_URL: '', NODE_ENV: 'production', BYOC_ROLES: 'metrics' },
      /INSIGHT_URL is missing/,
    ],
    ['no Vault that says who we are', { VAULT_ADDR: '' }, /PROM_URL is set; VAULT_ADDR must be too/],
    ['plain HTTP to Prometheus', { PROM_URL: 'http://prometheus:9090' }, /PROM_URL must be https/],
    ['plain HTTP to the Insight Engine', { INSIGHT_URL: 'http://insight' }, /INSIGHT_URL must be https/],
    ['a name without a password', { PROM_USERNAME: 'u' }, /PROM_PASSWORD/],
    ['two ways to log in', { PROM_USERNAME: 'u', PROM_PASSWORD: 'p', PROM_TOKEN: 't' }, /PROM_TOKEN/],
    ['a certificate without its key', { BYOC_PROM_CERT: '/c' }, /BYOC_PROM_KEY/],
    ['a longer memory than an hour', { BYOC_METRICS_KEEP_SECONDS: '3601' }, /BYOC_METRICS_KEEP_SECONDS/],
  ])('are refused with %s', (_, env, message) => {
    expect(() => readConfig({ ...good, ...env })).toThrow(message);
  });
});
