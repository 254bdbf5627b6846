import { isEncryptedOrLocal } from '../../domain/encrypted-or-local.ts';
import { unverifiedBy } from '../../domain/tls-settings.ts';
import type { SettingProblem } from '../settings/check.ts';
import { isServiceAddress, unknownSettings } from '../settings/unknown.ts';
import { found, ok } from './check.ts';
import type { Check, CheckGroup, Told } from './check.ts';
import { shown } from './evidence.ts';

export interface ProcessOptions {
  readonly env: NodeJS.ProcessEnv;
  /** As `process.versions.node`. */
  readonly nodeVersion: string;
  /** What is wrong with the settings of the worker. */
  readonly problems: readonly SettingProblem[];
  /** Those that the worker reads. */
  readonly known: readonly string[];
}

const NODE_MAJOR = 24;

const ADDRESSES = ['VAULT_ADDR', 'CONTROL_PLANE_URL', 'PROM_URL', 'INSIGHT_URL', 'AWS_ENDPOINT_URL_S3'];

/** What this process is made of: Node, and the settings. */
export function processChecks(options: ProcessOptions): CheckGroup {
  const { env, nodeVersion, problems } = options;
  const now = (name: string, look: () => readonly Told[]): Check => ({ name, run: () => Promise.resolve(look()) });
  return {
    checks: [
      now('node', () => [judgeNode(nodeVersion)]),
      now('settings', () =>
        problems.length === 0
          ? [ok(`All that are set are understood (${options.known.filter((name) => env[name]).length}).`)]
          : problems.map(({ setting, says }) => found('SETTING_WRONG', `${says}.${hintFor(env[setting])}`)),
      ),
      now('settings.unknown', () =>
        orOk(
          unknownSettings(env).map(({ says, exposes }) => found(exposes ? 'SETTING_WRONG' : 'SETTING_UNKNOWN', says)),
          'None is misspelt.',
        ),
      ),
      now('settings.tls', () =>
        orOk(verificationTroubles(env), 'Nothing turns the check of certificates off, and nothing travels in clear.'),
      ),
    ],
  };
}

function judgeNode(version: string): Told {
  return Number(version.split('.')[0]) >= NODE_MAJOR
    ? ok(`Node.js ${version}.`)
    : found('NODE_TOO_OLD', `This is Node.js ${version}; the connector needs ${NODE_MAJOR} or newer.`);
}

/** Kubernetes overwrites a setting where a Service has the name that its variable is made of. */
function hintFor(value: string | undefined): string {
  if (!isServiceAddress(value)) return '';
  return ' Kubernetes has set it for a Service of this name: set enableServiceLinks to false in the pod.';
}

function verificationTroubles(env: NodeJS.ProcessEnv): Told[] {
  return [
    ...unverifiedBy(env).map((name) =>
      found('VERIFICATION_OFF', `${name} is set so that certificates would not be checked.`),
    ),
    ...ADDRESSES.filter((name) => isInClear(env, env[name] ?? '')).map((name) =>
      found('PLAIN_HTTP', `${name} is plain HTTP (${shown(env[name] ?? '')}).`),
    ),
  ];
}

/** In development nobody else is on this machine. */
function isInClear(env: NodeJS.ProcessEnv, address: string): boolean {
  return address.startsWith('http:') && (env['NODE_ENV'] === 'production' || !isEncryptedOrLocal(address));
}

function orOk(told: readonly Told[], says: string): readonly Told[] {
  return told.length > 0 ? told : [ok(says)];
}
