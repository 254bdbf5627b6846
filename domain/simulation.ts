/**
 * Simulation mode: a connector for trying things out, whose cluster, keys, identity and metrics are made up. What is
 * simulated is told from what is real by its name alone, so that nobody has to remember to ask: the id of a simulated
 * cluster begins with `simulated-`, and with it everything that has the id in it: task queues, workflow ids, audit chains,
 * Leases, what packages are addressed to. No real cluster may have such an id, and no simulated one may lack it.
 */
const PREFIX = 'simulated-';

/** What a simulated cluster is called where nobody says otherwise. */
export const SIMULATED_CLUSTER = `${PREFIX}dev`;

/** Whether the id or UID of a cluster, or the name of an audit chain, is one of a simulation. */
export function isSimulated(name: string): boolean {
  return name.startsWith(PREFIX);
}

/** What is not real, in one sentence for whoever reads an output. */
export const SIMULATION_NOTICE =
  'SIMULATION: the cluster, its keys and its metrics are made up; nothing of this is real';

/** What a simulation leaves out, a line each, for its banner; docs/simulation.md has more. */
export const NOT_SIMULATED = [
  'no container runs: workloads report ready a moment after they are written',
  'no admission, no RBAC, no schemas, no defaults: what a real API server refuses or fills in passes here as it is',
  'no Object Lock: the audit "bucket" is a folder that anybody can delete',
  'packages and votes count with the development keys only, whose private halves everybody knows',
] as const;
