/** Entry point of a worker process: reads its settings, runs until it is told to end, drains, and ends. */
import { forgetStart } from './memory.ts';
import { ConnectorError } from '../domain/errors.ts';
import { readArguments } from './arguments.ts';
import { readConfig } from './config.ts';
import { createConnector } from './connector.ts';
import { createLogger, installTemporalLogger } from './logging.ts';
import { unknownSettings } from './settings/unknown.ts';

try {
  const config = readConfig({ ...process.env, ...readArguments(process.argv.slice(2)) });
  const logger = createLogger(config.logLevel, {
    cluster: config.clusterId,
    writer: config.writer,
    ...(config.simulated && { simulated: true }),
  });
  installTemporalLogger(logger);
  for (const { says } of unknownSettings(process.env)) logger.warn(says);
  const connector = await createConnector(config, process.env, logger);
  forgetStart();
  // SIGTERM and SIGINT are heard by Temporal's runtime, which lets the worker drain.
  await connector.run();
} catch (error) {
  const known = error instanceof ConnectorError ? error : undefined;
  const line = { level: 'error', code: known?.code ?? 'INTERNAL', message: known?.message ?? String(error) };
  process.stderr.write(`${JSON.stringify({ ...line, cause: causeOf(error) })}\n`);
  // Connections that were made before it failed would keep the process, and with it a pod that nobody restarts.
  process.exit(known?.traits.exitCode ?? 1);
}

function causeOf(error: unknown): string | undefined {
  return error instanceof Error && error.cause instanceof Error ? error.cause.message : undefined;
}
