import { DefaultLogger, Runtime } from '@temporalio/worker';
import { pino } from 'pino';
import type { Logger } from 'pino';
import type { WorkerConfig } from './config.ts';

/** JSON lines on stderr: values are data, so no input can forge a line. Temporal's own messages go the same way. */
export function createLogger(level: WorkerConfig['logLevel'], fields: Record<string, string | true>): Logger {
  const formatters = { level: (label: string) => ({ level: label }) };
  const timestamp = pino.stdTimeFunctions.isoTime;
  return pino({ level, base: fields, timestamp, messageKey: 'message', formatters }, pino.destination(2));
}

const PINO_LEVELS = { TRACE: 'trace', DEBUG: 'debug', INFO: 'info', WARN: 'warn', ERROR: 'error' } as const;

/** Call once a process, before the first worker or connection is made. */
export function installTemporalLogger(logger: Logger): void {
  const temporal = logger.child({ from: 'temporal' });
  const forward = new DefaultLogger('INFO', ({ level, message, meta }) => {
    // Failures of activities are told by the connector itself, without Temporal's stack traces.
    const { error, ...rest } = (meta ?? {}) as Record<string, unknown>;
    temporal[PINO_LEVELS[level]]({ ...rest, ...(error instanceof Error && { error: error.message }) }, message);
  });
  Runtime.install({
    logger: forward,
    telemetryOptions: { logging: { forward: {}, filter: { core: 'WARN', other: 'WARN' } } },
  });
}
