import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';

import { Connection } from '@temporalio/client';

import { SEARCH_ATTRIBUTES } from '../../domain/names.ts';
import type { Host } from '../host.ts';

export interface TemporalService {
  /** `host:port` of the gRPC frontend. */
  readonly address: string;
  readonly uiUrl: string;
  readonly namespace: string;
  /** Path of the `temporal` command. */
  readonly bin: string;
}

const NAMESPACE = 'default';

/** Starts Temporal's development server, which keeps its state in memory unless `persist` is set. */
export async function startTemporal(host: Host, persist: boolean): Promise<TemporalService> {
  const bin = await host.find('temporal');
  const folder = host.folderOf('temporal');
  await mkdir(folder, { recursive: true });
  const ports = await host.withPorts(['grpc', 'ui', 'http', 'metrics'], ({ grpc, ui, http, metrics }) =>
    host.start({
      name: 'temporal',
      args: [
        ...['server', 'start-dev', '--disable-config-file', '--disable-config-env', '--log-level', 'warn'],
        ...['--ip', '127.0.0.1', '--port', `${grpc}`, '--ui-port', `${ui}`],
        ...['--http-port', `${http}`, '--metrics-port', `${metrics}`],
        ...(persist ? ['--db-filename', join(folder, 'temporal.db')] : []),
        ...Object.values(SEARCH_ATTRIBUTES).flatMap((name) => ['--search-attribute', `${name}=Keyword`]),
        // A client that is also the worker gets the first workflow task, and a worker its next activity, at once.
        ...['--dynamic-config-value', 'system.enableEagerWorkflowStart=true'],
        ...['--dynamic-config-value', 'system.enableActivityEagerExecution=true'],
      ],
      healthy: () => hasSearchAttributes(`127.0.0.1:${grpc}`),
    }),
  );
  return {
    address: `127.0.0.1:${ports.grpc}`,
    uiUrl: `http://127.0.0.1:${ports.ui}`,
    namespace: NAMESPACE,
    bin,
  };
}

/** Whether the server is of use: the namespace is there with our search attributes, a moment after it listens. */
export async function hasSearchAttributes(address: string): Promise<boolean> {
  const connection = await Connection.connect({ address, connectTimeout: 1_000 });
  try {
    const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace: NAMESPACE });
    return Object.values(SEARCH_ATTRIBUTES).every((name) => Object.hasOwn(customAttributes ?? {}, name));
  } finally {
    await connection.close();
  }
}
