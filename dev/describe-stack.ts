import { dirname, extname, join } from 'node:path';
import { BYOC, columns } from '../client/cli/output.ts';
import { environmentOf, STATE_VARIABLE } from './environment.ts';
import { NOT_SIMULATED, SIMULATED_CLUSTER, SIMULATION_NOTICE } from '../domain/simulation.ts';
import { programsInCache } from './programs.ts';
import type { DevSettings } from './settings.ts';
import { simulatedEnvironment } from './simulated-stack.ts';
import type { SimulatedServices } from './simulated-stack.ts';
import type { Services } from './stack.ts';
import type { PayloadCodecName } from './state.ts';

/** Where the parts are, and what to try next. */
export function describeStack({ temporal, vault, s3, kubernetes, controlPlane }: Services): string[] {
  return [
    ...columns([
      ['Temporal', temporal.address, `UI ${temporal.uiUrl}`],
      ['Vault', vault.address, '(OpenBao)'],
      ['S3', s3.endpoint, `bucket ${s3.bucket} (SeaweedFS)`],
      ['Kubernetes', kubernetes.server, '(no container runs: kwok plays the nodes)'],
      ['Control plane', controlPlane.url, '(the reference one)'],
    ]),
    '',
    'Next:',
    `  eval "$(${BYOC} dev env)"   # lets byoc, temporal, kubectl and bao find the stack`,
    `  ${BYOC} --help`,
    `  ${BYOC} dev down`,
  ];
}

/** The same of a stack in simulation mode. */
export function describeSimulated({ temporal, controlPlane }: SimulatedServices): string[] {
  return [
    SIMULATION_NOTICE,
    ...NOT_SIMULATED.map((line) => `  - ${line}`),
    ...columns([
      ['Temporal', temporal.address, `UI ${temporal.uiUrl}`],
      ['Control plane', controlPlane.url, '(the reference one, which takes made-up tokens)'],
      ['Cluster', SIMULATED_CLUSTER, '(in the memory of the worker)'],
    ]),
    '',
    'Next:',
    `  eval "$(${BYOC} dev env)"   # lets byoc and temporal find it`,
    `  ${BYOC} --help`,
    `  ${BYOC} dev down`,
  ];
}

export interface ExportOptions {
  readonly stateDir: string;
  /** As its worker has it. */
  readonly payloadCodec: PayloadCodecName;
  /** Where else programs may be. */
  readonly settings: DevSettings;
}

/** Lines for a shell that let every command find the stack. They hold its secrets, which are of development only. */
export async function exportLines(
  services: Services,
  { stateDir, payloadCodec, settings }: ExportOptions,
): Promise<string[]> {
  const { temporal, kubernetes, vault } = services;
  const env = {
    ...environmentOf(services),
    BYOC_PAYLOAD_CODEC: payloadCodec,
    // A codec server of this shell shows the pages of the stack's own UI what is encrypted.
    ...(payloadCodec === 'vault' && { BYOC_CODEC_ORIGINS: new URL(temporal.uiUrl).origin }),
  };
  const others = await programsInCache(['helm', 'cosign'], settings);
  return linesFor(env, [temporal.bin, kubernetes.kubectl, vault.bin], stateDir, others);
}

/** The same for a stack in simulation mode. */
export function simulatedExportLines(services: SimulatedServices, stateDir: string): string[] {
  return linesFor(simulatedEnvironment(services, stateDir), [services.temporal.bin], stateDir);
}

/** @param others programs for whoever has none of their own: theirs come first */
function linesFor(
  env: Readonly<Record<string, string>>,
  programs: readonly string[],
  stateDir: string,
  others: readonly string[] = [],
): string[] {
  const all = { ...env, [STATE_VARIABLE]: stateDir };
  const settings = Object.entries(all).map(([name, value]) => `export ${name}=${quote(value)}`);
  const folders = (of: readonly string[]) => of.map((tool) => quote(dirname(tool)));
  const command = join(import.meta.dirname, '..', 'client', 'cli', `main${extname(import.meta.filename)}`);
  return [
    ...settings,
    `export PATH=${[...folders(programs), '"$PATH"', ...folders(others)].join(':')}`,
    `byoc() { ${quote(process.execPath)} ${quote(command)} "$@"; }`,
  ];
}

/** One word for a POSIX shell. */
function quote(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
