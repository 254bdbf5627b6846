import { z } from 'zod';
import { ConnectorError } from '../../domain/errors.ts';
import { SIMULATED_CLUSTER } from '../../domain/simulation.ts';
import { TLS_SETTINGS, tlsFilesOf } from '../../domain/tls-settings.ts';
import type { TlsPart } from '../../domain/tls-settings.ts';
import { AGENT_SETTINGS, agentConfigOf } from '../agent/settings.ts';
import { readSimulation, refuseOtherCluster } from '../simulation/settings.ts';
import { readVaultSettings } from '../vault-settings.ts';
import { developmentDefaults } from './development.ts';
import { rolesOf } from './roles.ts';
import { settingsSchema } from './together.ts';
import type { Settings } from './worker-settings.ts';
import { workerSchema } from './worker-settings.ts';

/** What is wrong with a setting, as a sentence without its end; it begins with the name of the setting. */
export interface SettingProblem {
  readonly setting: string;
  readonly says: string;
}

export type CheckedSettings =
  { readonly settings: Settings; readonly simulated: boolean } | { readonly problems: readonly SettingProblem[] };

/** Checks all settings, each by itself and together. @param given those that are not empty */
export function checkSettings(given: NodeJS.ProcessEnv): CheckedSettings {
  const mode = modeOf(given);
  if ('problems' in mode) return mode;
  const { simulated } = mode;
  const defaults = simulated ? { BYOC_CLUSTER_ID: SIMULATED_CLUSTER } : developmentDefaults(given);
  const parsed = settingsSchema.safeParse({ ...defaults, ...given, SIMULATION: simulated ? 'true' : undefined });
  const problems = (parsed.error?.issues ?? []).map((issue): SettingProblem => {
    const isMissing = issue.code === 'invalid_type' && !(String(issue.path[0]) in given);
    const what = isMissing ? 'is missing' : sentenceOf(issue);
    return { setting: String(issue.path[0]), says: `${issue.path.join('.')} ${what}` };
  });
  const more = problemsOfParts(given);
  if (!parsed.success || more.length > 0) return { problems: [...problems, ...more] };
  return { settings: parsed.data, simulated };
}

/** Whether this is a simulation; in the wrong place nothing else of the settings says anything. */
function modeOf(
  given: NodeJS.ProcessEnv,
): { readonly simulated: boolean } | { readonly problems: readonly SettingProblem[] } {
  try {
    const simulated = readSimulation(given);
    if (given['BYOC_CLUSTER_ID'] !== undefined) refuseOtherCluster(given['BYOC_CLUSTER_ID'], simulated);
    return { simulated };
  } catch (error) {
    return { problems: [problemOf(error)] };
  }
}

/** The end of a sentence that begins with the name of the setting. Values are not shown: one may be a secret. */
function sentenceOf(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      return `must be a ${issue.expected}`;
    case 'invalid_format':
      return issue.format === 'url' ? 'must be an address, such as https://host.example.com' : issue.message;
    case 'invalid_value':
      return `must be ${issue.values.map(String).join(' or ')}`;
    case 'too_small':
      return issue.origin === 'string' ? 'is empty' : `must be at least ${issue.minimum}`;
    case 'too_big':
      return `must be at most ${issue.maximum}`;
    default:
      return issue.message;
  }
}

/** What the parts' own readers refuse, each by itself. */
function problemsOfParts(given: NodeJS.ProcessEnv): SettingProblem[] {
  const address = URL.parse(given['VAULT_ADDR'] ?? ''); // what is no address is told by the schema
  const wanted = z.object({ BYOC_ROLES: workerSchema.shape.BYOC_ROLES }).safeParse(given).data;
  const roles = address && wanted ? rolesOf({ ...given, ...wanted }) : [];
  const agent = z.object({ ...AGENT_SETTINGS }).safeParse(given).data;
  const parts = Object.keys(TLS_SETTINGS) as TlsPart[]; // the table's own keys
  const reads = [
    ...roles.map((role) => () => readVaultSettings(given, role)),
    ...(agent ? [() => agentConfigOf(agent, '', {})] : []),
    ...parts.map((part) => () => tlsFilesOf(given, part)),
  ];
  const problems = reads.flatMap((read) => {
    try {
      read();
      return [];
    } catch (error) {
      return [problemOf(error)];
    }
  });
  return [...new Map(problems.map((one) => [one.says, one])).values()];
}

/** Of what a reader refuses, whose sentence begins with the setting. */
function problemOf(error: unknown): SettingProblem {
  if (!(error instanceof ConnectorError)) throw error;
  const says = error.detail.replace(/\.$/, '');
  return { setting: /^\w+/.exec(says)?.[0] ?? '', says };
}
