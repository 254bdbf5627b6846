import { ConnectorError } from '../../domain/errors.ts';

/** What fastify itself refuses, as an error of ours. */
export function toOurs(error: unknown): unknown {
  if (error instanceof ConnectorError || typeof error !== 'object' || error === null) return error;
  const { code, statusCode } = error as { readonly code?: unknown; readonly statusCode?: unknown };
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') return new ConnectorError('CALL_TOO_LARGE', '', { cause: error });
  if (code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE') return new ConnectorError('CALL_UNSUPPORTED', '', { cause: error });
  const isCallers = typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500;
  return isCallers ? new ConnectorError('CALL_MALFORMED', '', { cause: error }) : error;
}
