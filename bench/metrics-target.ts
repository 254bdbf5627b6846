import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createAuthority } from '../dev/authority.ts';
import type { Stack } from '../dev/stack.ts';
import type { TestServer } from '../test/support/http-server.ts';
import { startServer, status } from '../test/support/http-server.ts';

/** The stack's Prometheus, and a server that takes batches as the Insight Engine does. */
export class MetricsTarget {
  /** The settings with which a worker finds both. */
  readonly settings: Readonly<Record<string, string>>;
  readonly #insight: TestServer;

  private constructor(insight: TestServer, settings: Readonly<Record<string, string>>) {
    this.#insight = insight;
    this.settings = settings;
  }

  /** @param folder where the certificates of their authorities are put */
  static async start({ prometheus }: Pick<Stack, 'prometheus'>, folder: string): Promise<MetricsTarget> {
    const authority = await createAuthority();
    const insight = await startServer(status(202), await authority.issue('insight'));
    const files = { prometheus: join(folder, 'prometheus.pem'), insight: join(folder, 'insight.pem') };
    await writeFile(files.prometheus, prometheus.ca);
    await writeFile(files.insight, authority.ca);
    return new MetricsTarget(insight, {
      PROM_URL: prometheus.address,
      PROM_USERNAME: prometheus.username,
      PROM_PASSWORD: prometheus.password,
      BYOC_PROM_CA: files.prometheus,
      INSIGHT_URL: insight.address,
      BYOC_INSIGHT_CA: files.insight,
    });
  }

  close(): Promise<void> {
    return this.#insight.close();
  }
}
