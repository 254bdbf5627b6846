import { ConnectorError, isErrorCode, type ErrorCode } from '../domain/errors.ts';
import { connectorFolder, prepareConnector, startWorker } from './connector.ts';
import type { Program } from './process.ts';
import { payloadCodecIn } from './settings.ts';
import { startSimulatedStack } from './simulated-stack.ts';
import { startStack, type Stack, type StackOptions } from './stack.ts';

/** What the keeper tells the command that started it. */
export type KeeperMessage =
  | { readonly kind: 'progress'; readonly part: string; readonly message: string }
  | { readonly kind: 'ready' }
  | { readonly kind: 'failed'; readonly code: ErrorCode; readonly detail: string };

/**
 * Entry point of the process that owns a stack which outlives the command that started it. It is told to stop by
 * SIGTERM, and while the stack is not up yet also by the end of the command (Ctrl-C, a crash).
 */
async function keep(
  options: Pick<StackOptions, 'stateDir'> & {
    readonly persist: boolean;
    readonly connector: boolean;
    readonly simulate: boolean;
  },
): Promise<void> {
  const stopping = new AbortController();
  const stopped = new Promise<void>((resolve) => stopping.signal.addEventListener('abort', () => resolve()));
  const abort = () => stopping.abort();
  process.on('SIGTERM', abort);
  process.on('SIGINT', abort);
  process.on('disconnect', abort);
  const tell = (message: KeeperMessage) => process.connected && process.send?.(message);
  try {
    const onProgress = (part: string, message: string) => tell({ kind: 'progress', part, message });
    const start = options.simulate ? startSimulatedStack : startStack;
    const stack = await start({ ...options, env: process.env, signal: stopping.signal, onProgress });
    const worker =
      options.connector && !('connector' in stack)
        ? await raiseWorker(stack, options.persist, stopping.signal, onProgress)
        : undefined;
    process.off('disconnect', abort);
    tell({ kind: 'ready' });
    const alive = setInterval(() => undefined, 1 << 30);
    await stopped;
    clearInterval(alive);
    await worker?.stop();
    await stack.stop();
  } catch (error) {
    const known = error instanceof ConnectorError && isErrorCode(error.code);
    tell({ kind: 'failed', code: known ? error.code : 'INTERNAL', detail: known ? error.detail : String(error) });
    process.exitCode = 1;
  }
  if (process.connected) process.disconnect();
}

/** A failure here ends this process, and the stack with it. */
async function raiseWorker(
  stack: Stack,
  keep: boolean,
  signal: AbortSignal,
  onProgress: (part: string, message: string) => void,
): Promise<Program> {
  const startedAt = Date.now();
  const { controlPlane } = stack;
  const folder = connectorFolder(stack.stateDir);
  const env = { BYOC_PAYLOAD_CODEC: payloadCodecIn(process.env) ?? 'off' };
  const connector = await prepareConnector({ services: stack, controlPlane, folder, keep, env });
  const worker = await startWorker(connector, signal);
  onProgress('worker', `ready in ${((Date.now() - startedAt) / 1000).toFixed(1)} s`);
  return worker;
}

const [stateDir = '', mode, connector] = process.argv.slice(2);
await keep({
  stateDir,
  persist: mode === 'persist',
  connector: connector === 'connector',
  simulate: mode === 'simulate',
});
