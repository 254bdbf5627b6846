import { existsSync } from 'node:fs';
import { ConnectorError } from '../../domain/errors.ts';
import { isSimulated, SIMULATED_CLUSTER } from '../../domain/simulation.ts';

type Settings = Readonly<Record<string, string | undefined>>;

/** The setting that lets a simulation run where it otherwise never does; its value is a sentence that nobody types by accident. */
export const SIMULATION_ALLOWED = { name: 'BYOC_SIMULATION_ALLOWED', value: 'nothing-here-is-real' } as const;

/** What every pod has whose service account is not switched off. */
const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';

/** Settings of what is real. With one of them, somebody means something else than a simulation, and nobody guesses what. */
const REAL = /^(VAULT_|PROM_|BYOC_PROM_|S3_|BYOC_S3_|BYOC_VAULT_)/;
const REAL_NAMES = [
  ...['BYOC_ROLES', 'BYOC_APPLY_SERVICE_ACCOUNT'], // one process has the whole cluster in its memory
  ...['COSIGN_KEY', 'BYOC_APPROVERS', 'BYOC_TRUSTED_ROOT'],
  ...['KUBECONFIG', 'BYOC_KUBE_CONTEXT', 'AWS_ENDPOINT_URL_S3', 'BYOC_METRICS'],
];

/** What a simulation may talk to is on this machine. */
const LOCAL_ONLY = ['CONTROL_PLANE_URL', 'INSIGHT_URL'];
const LOOPBACK = ['127.0.0.1', '[::1]', 'localhost'];

/**
 * Whether the settings ask for simulation mode, where that may be.
 * @param given the settings that are not empty
 * @param serviceAccount folder that tells that this runs inside a cluster
 * @throws {ConnectorError} CONFIG_INVALID in production, inside a cluster, and beside settings of what is real
 */
export function readSimulation(given: Settings, serviceAccount = SERVICE_ACCOUNT): boolean {
  const { SIMULATION: wanted = 'false' } = given;
  if (wanted === 'false') return false;
  if (wanted !== 'true') throw invalid('SIMULATION must be true or false.');
  const isAllowed = given[SIMULATION_ALLOWED.name] === SIMULATION_ALLOWED.value;
  const place = placeOf(given, serviceAccount);
  if (place !== undefined && !isAllowed) {
    const rest = `Unset it; where this really is no place of importance, set ${SIMULATION_ALLOWED.name}=${SIMULATION_ALLOWED.value}.`;
    throw invalid(`SIMULATION is true, and ${place}. ${rest}`);
  }
  const real = Object.keys(given).filter((name) => REAL.test(name) || REAL_NAMES.includes(name));
  if (real.length > 0) {
    const they = real.length === 1 ? 'is' : 'are';
    throw invalid(
      `SIMULATION is true, and ${real.sort().join(', ')} ${they} set, for what is real. Unset one or the other.`,
    );
  }
  for (const name of LOCAL_ONLY) {
    const host = URL.parse(given[name] ?? '')?.hostname;
    if (host === undefined || LOOPBACK.includes(host)) continue;
    throw invalid(
      `SIMULATION is true, and ${name} leads to another machine; a simulation tells nobody there anything.`,
    );
  }
  return true;
}

function placeOf(given: Settings, serviceAccount: string): string | undefined {
  if (given['NODE_ENV'] === 'production') return 'NODE_ENV is production';
  if (given['KUBERNETES_SERVICE_HOST'] !== undefined)
    return 'this runs inside a cluster (KUBERNETES_SERVICE_HOST is set)';
  return existsSync(serviceAccount) ? `this runs inside a cluster (${serviceAccount} is there)` : undefined;
}

/** @throws {ConnectorError} CONFIG_INVALID for a real cluster with the name of a simulated one, and the other way round */
export function refuseOtherCluster(clusterId: string, simulated: boolean): void {
  if (isSimulated(clusterId) === simulated) return;
  throw invalid(
    simulated
      ? `BYOC_CLUSTER_ID must begin with "simulated-" where SIMULATION is true, such as ${SIMULATED_CLUSTER}: every output then says what it is.`
      : `BYOC_CLUSTER_ID must not begin with "simulated-": that is what simulated clusters are called.`,
  );
}

function invalid(detail: string): ConnectorError {
  return new ConnectorError('CONFIG_INVALID', detail);
}
