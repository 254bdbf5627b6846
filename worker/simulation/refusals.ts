import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { KubeReader } from '../../activities/kubernetes/kube-api.ts';
import { ConnectorError } from '../../domain/errors.ts';
import { isSimulated } from '../../domain/simulation.ts';

/**
 * A real connector goes on with nothing of a simulation, and the other way round: neither with the audit log that one has
 * left in the data folder, nor in the cluster of one, whoever's kubeconfig leads there.
 * @throws {ConnectorError} CONFIG_INVALID, KUBERNETES_UNAVAILABLE
 */
export async function refuseOtherKind(
  { dataDir, simulated }: { readonly dataDir: string; readonly simulated: boolean },
  api: Pick<KubeReader, 'clusterUid' | 'server'>,
): Promise<void> {
  const found = await readdir(join(dataDir, 'audit'), { withFileTypes: true }).catch(() => []);
  const chains = found.filter((one) => one.isDirectory()).map(({ name }) => name);
  const other = chains.find((chain) => isSimulated(chain) !== simulated);
  if (other !== undefined) {
    const whose = simulated ? 'a real connector' : 'a simulation';
    throw invalid(`${dataDir} holds the audit log ${other} of ${whose}; set another BYOC_DATA_DIR.`);
  }
  if (isSimulated(await uidOf(api)) === simulated) return;
  throw invalid(
    `The cluster at ${api.server} is ${simulated ? 'a real one' : 'simulated'}, and SIMULATION is ${simulated}.`,
  );
}

/** An API server that keeps an account from reading it has rights to give, which a simulated one has not. */
async function uidOf(api: Pick<KubeReader, 'clusterUid'>): Promise<string> {
  try {
    return await api.clusterUid();
  } catch (error) {
    if (error instanceof ConnectorError && error.code === 'KUBERNETES_FORBIDDEN') return '';
    throw error;
  }
}

function invalid(detail: string): ConnectorError {
  return new ConnectorError('CONFIG_INVALID', detail);
}
