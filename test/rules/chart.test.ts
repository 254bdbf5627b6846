import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { parse } from 'yaml';
import { ALERT_GROUPS } from '../../dev/chart/alert-rules.ts';
import { dashboard } from '../../dev/chart/dashboard.ts';
import { generatedFiles } from '../../dev/chart/generated-files.ts';
import { CHART, readValues } from '../../dev/chart/values.ts';
import { ALERTS } from '../../domain/alerts.ts';
import { VERSION } from '../../domain/names.ts';
import { METRICS } from '../../worker/metrics/catalogue.ts';

// R22, R24, R29

const rules = ALERT_GROUPS.flatMap((group) => group.rules);

/** Names of metrics of ours in a text, without what Prometheus adds to those of a histogram. */
function metricsIn(text: string): string[] {
  return [...text.matchAll(/\bbyoc_[a-z0-9_]+/g)].map(([name]) => name.replace(/_(bucket|count|sum)$/, ''));
}

describe('the chart', () => {
  it('has README, schema, alert rules and dashboard as they are made from values and code', async () => {
    for (const [name, text] of Object.entries(await generatedFiles())) {
      // A difference is mended by: node dev/chart/generate.ts
      expect({ name, text: await readFile(join(CHART, name), 'utf8') }).toEqual({ name, text });
    }
  });

  it('describes every value', async () => {
    const values = await readValues();
    expect(values.length).toBeGreaterThan(100);
    for (const { path, description } of values)
      expect({ path, description }).toEqual({ path, description: expect.stringMatching(/^[`A-Z].*\.$/) });
  });

  it('is released with the connector, under one version', async () => {
    const chart: unknown = parse(await readFile(join(CHART, 'Chart.yaml'), 'utf8'));
    const { version } = JSON.parse(await readFile(join(CHART, '../../package.json'), 'utf8')) as { version: string };
    expect(chart).toMatchObject({ version, appVersion: version });
    expect(version).toBe(VERSION);
  });
});

describe('the alert rules', () => {
  it('tell of every alert that the control plane is told of, as badly as it is told', () => {
    const told = rules.flatMap(({ labels }) => (labels.byoc_alert ? [[labels.byoc_alert, labels.severity]] : []));
    expect(told.sort()).toEqual(
      Object.entries(ALERTS)
        .map(([type, { severity }]) => [type, severity])
        .sort(),
    );
  });

  it('ask for nothing but metrics that there are', () => {
    const asked = rules.flatMap(({ expr }) => metricsIn(expr));
    expect(asked.filter((name) => !(name in METRICS))).toEqual([]);
    for (const { alert, expr } of rules)
      expect({ alert, metrics: metricsIn(expr) }).not.toEqual({ alert, metrics: [] });
  });

  it('have a runbook each, and the document has no other', async () => {
    const text = await readFile(join(CHART, '../../docs/alerts.md'), 'utf8');
    const sections = [...text.matchAll(/^### (Byoc\w+)$/gm)].map(([, name]) => name);
    expect(sections.sort()).toEqual(rules.map(({ alert }) => alert).sort());
  });

  it('use labels that their metrics have', () => {
    const given = ['pod', 'namespace']; // by the ServiceMonitor
    for (const { alert, expr, annotations } of rules) {
      const labels = metricsIn(expr).flatMap((name) =>
        name in METRICS ? METRICS[name as keyof typeof METRICS].labels : [],
      );
      const used = [...annotations.description.matchAll(/\$labels\.(\w+)/g)].map(([, label]) => label);
      expect({ alert, unknown: used.filter((one) => ![...given, ...labels].includes(String(one))) }).toEqual({
        alert,
        unknown: [],
      });
    }
  });
});

describe('the dashboard', () => {
  const panels = (dashboard() as { panels: readonly Panel[] }).panels;
  interface Panel {
    readonly id: number;
    readonly title: string;
    readonly targets: readonly { readonly expr: string }[];
    readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  }

  it('asks for nothing but metrics that there are', () => {
    const asked = panels.flatMap(({ targets }) => targets.flatMap(({ expr }) => metricsIn(expr)));
    expect(asked.filter((name) => !(name in METRICS))).toEqual([]);
  });

  it('has panels that lie beside each other, and not on each other', () => {
    for (const one of panels) {
      expect(one.gridPos.x + one.gridPos.w).toBeLessThanOrEqual(24);
      const over = panels
        .filter((other) => other.id < one.id && overlap(one.gridPos, other.gridPos))
        .map(({ title }) => title);
      expect({ title: one.title, over }).toEqual({ title: one.title, over: [] });
    }
  });

  function overlap(a: Panel['gridPos'], b: Panel['gridPos']): boolean {
    return a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;
  }
});
