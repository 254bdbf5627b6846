import type { Role } from '../../domain/names.ts';
import type { Settings } from './worker-settings.ts';
import { workerSchema } from './worker-settings.ts';
import type { RoleSettings } from './roles.ts';
import { rolesOf } from './roles.ts';

/** What must hold between settings that are each valid by themselves. */
interface Rule {
  /** The setting that is named for it. */
  readonly setting: keyof Settings;
  /** The end of a sentence that begins with its name. */
  readonly says: string;
  readonly holds: (settings: Settings) => boolean;
}

const RULES: readonly Rule[] = [
  {
    setting: 'BYOC_ROLES',
    says: 'is missing, and so is --role: in production each role is a process with an account of its own',
    holds: ({ BYOC_ROLES, NODE_ENV, SIMULATION }) =>
      BYOC_ROLES !== undefined || SIMULATION !== undefined || NODE_ENV !== 'production',
  },
  {
    setting: 'VAULT_ADDR',
    says: 'is missing, and so is COSIGN_KEY: one of them must say where the signing keys are',
    holds: (settings) => !has(settings, 'execution') || settings.COSIGN_KEY !== undefined || hasLogins(settings),
  },
  {
    setting: 'BYOC_PAYLOAD_CODEC',
    says: 'is vault; VAULT_ADDR must be set too',
    holds: ({ BYOC_PAYLOAD_CODEC, VAULT_ADDR }) => BYOC_PAYLOAD_CODEC === 'off' || VAULT_ADDR !== undefined,
  },
  {
    setting: 'CONTROL_PLANE_URL',
    says: 'is missing; the role registration is told by it whom to register with',
    holds: ({ BYOC_ROLES, CONTROL_PLANE_URL }) =>
      !BYOC_ROLES?.includes('registration') || CONTROL_PLANE_URL !== undefined,
  },
  {
    setting: 'PROM_URL',
    says: 'is missing; the role metrics is told by it what to read',
    holds: ({ BYOC_ROLES, PROM_URL }) => !BYOC_ROLES?.includes('metrics') || PROM_URL !== undefined,
  },
  {
    setting: 'CONTROL_PLANE_URL',
    says: 'is set; VAULT_ADDR must be too, because the control plane knows a cluster by what its Vault says',
    holds: (settings) => !settings.CONTROL_PLANE_URL || !has(settings, 'registration') || hasLogins(settings),
  },
  {
    setting: 'BYOC_S3_KMS_KEY_ID',
    says: 'names a key; BYOC_S3_SSE must be aws:kms',
    holds: ({ BYOC_S3_SSE, BYOC_S3_KMS_KEY_ID }) => BYOC_S3_KMS_KEY_ID === undefined || BYOC_S3_SSE === 'aws:kms',
  },
  {
    setting: 'INSIGHT_URL',
    says: 'is missing; PROM_URL is set, and what is read there goes to it',
    holds: (settings) => !settings.PROM_URL || !has(settings, 'metrics') || settings.INSIGHT_URL !== undefined,
  },
  {
    setting: 'PROM_URL',
    says: 'is set; VAULT_ADDR must be too, because the Insight Engine knows a cluster by what its Vault says',
    holds: (settings) => !settings.PROM_URL || !has(settings, 'metrics') || hasLogins(settings),
  },
  {
    setting: 'PROM_PASSWORD',
    says: 'goes with PROM_USERNAME: set both or none',
    holds: ({ PROM_USERNAME, PROM_PASSWORD }) => (PROM_USERNAME === undefined) === (PROM_PASSWORD === undefined),
  },
  {
    setting: 'PROM_TOKEN',
    says: 'and PROM_USERNAME are two ways to log in: set one',
    holds: ({ PROM_USERNAME, PROM_TOKEN }) => PROM_USERNAME === undefined || PROM_TOKEN === undefined,
  },
];

/** The settings of a worker, with what goes together. A rule is asked whatever else is wrong, so that all is told at once. */
export const settingsSchema = RULES.reduce(
  (schema, { setting, says, holds }) => schema.refine(holds, { path: [setting], message: says, when: () => true }),
  workerSchema,
);

function has(settings: RoleSettings, role: Role): boolean {
  return rolesOf(settings).includes(role);
}

/** Whether keys and tokens can be had: from Vault, or made up. */
function hasLogins(settings: { readonly VAULT_ADDR?: string | undefined } & RoleSettings): boolean {
  return settings.VAULT_ADDR !== undefined || settings.SIMULATION !== undefined;
}
