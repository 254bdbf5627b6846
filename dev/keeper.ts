import { ConnectorError, isErrorCode, type ErrorCode } from '../domain/errors.ts';
import { startStack, type StackOptions } from './stack.ts';

/** What the keeper tells the command that started it. */
export type KeeperMessage =
  | { readonly kind: 'progress'; readonly part: string; readonly message: string }
  | { readonly kind: 'ready' }
  | { readonly kind: 'failed'; readonly code: ErrorCode; readonly detail: string };

/**
 * Entry point of the process that owns a stack which outlives the command that started it. It is told to stop by
 * SIGTERM, and while the stack is not up yet also by the end of the command (Ctrl-C, a crash).
 */
async function keep(options: Pick<StackOptions, 'stateDir' | 'persist'>): Promise<void> {
  const stopping = new AbortController();
  const stopped = new Promise<void>((resolve) => stopping.signal.addEventListener('abort', () => resolve()));
  const abort = () => stopping.abort();
  process.on('SIGTERM', abort);
  process.on('SIGINT', abort);
  process.on('disconnect', abort);
  const tell = (message: KeeperMessage) => process.connected && process.send?.(message);
  try {
    const stack = await startStack({
      ...options,
      env: process.env,
      signal: stopping.signal,
      onProgress: (part, message) => tell({ kind: 'progress', part, message }),
    });
    process.off('disconnect', abort);
    tell({ kind: 'ready' });
    const alive = setInterval(() => undefined, 1 << 30);
    await stopped;
    clearInterval(alive);
    await stack.stop();
  } catch (error) {
    const known = error instanceof ConnectorError && isErrorCode(error.code);
    tell({ kind: 'failed', code: known ? error.code : 'INTERNAL', detail: known ? error.detail : String(error) });
    process.exitCode = 1;
  }
  if (process.connected) process.disconnect();
}

const [stateDir = '', persist] = process.argv.slice(2);
await keep({ stateDir, persist: persist === 'persist' });
