import { join } from 'node:path';
import { Program, untilHealthy } from '../../../dev/process.ts';
import { temporalSettings } from '../../../dev/environment.ts';
import type { TestConnector } from '../connector.ts';

/**
 * Starts a worker of somebody else in the connector's Temporal namespace; kill it in `afterAll`.
 * @param file with its workflows, beside this one
 */
export async function startForeigner(connector: TestConnector, taskQueue: string, file: string): Promise<Program> {
  const { temporal } = connector.services;
  const foreigner = new Program({
    name: 'foreign worker',
    command: process.execPath,
    args: [join(import.meta.dirname, 'worker.ts'), taskQueue, file],
    env: { PATH: '/usr/bin:/bin', ...temporalSettings(temporal) },
    logFile: join(connector.prepared.folder, 'foreign.log'),
  });
  const ready = () => Promise.resolve(foreigner.output().includes('ready'));
  await untilHealthy(foreigner, ready, { timeoutMs: 30_000 });
  return foreigner;
}
