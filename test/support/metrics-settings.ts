import type { PrometheusService } from '../../dev/servers/prometheus.ts';

export interface MetricsOptions {
  readonly prometheus: PrometheusService;
  /** Where batches go, and the authority of its certificate, in PEM. */
  readonly insight: { readonly address: string };
  readonly insightCa: string;
  /** The file with the queries, as YAML. */
  readonly queries: string;
}

/** Files and settings with which a connector reads a real Prometheus and sends to an Insight Engine. */
export function metricsSettings({ prometheus, insight, insightCa, queries }: MetricsOptions) {
  return {
    files: { 'prom-ca.pem': prometheus.ca, 'insight-ca.pem': insightCa, 'metrics.yaml': queries },
    env: {
      PROM_URL: prometheus.address,
      PROM_USERNAME: prometheus.username,
      PROM_PASSWORD: prometheus.password,
      BYOC_PROM_CA: 'prom-ca.pem',
      BYOC_METRICS: 'metrics.yaml',
      INSIGHT_URL: insight.address,
      BYOC_INSIGHT_CA: 'insight-ca.pem',
    },
  };
}
