import { homedir } from 'node:os';
import { join } from 'node:path';

import { ConnectorError } from '../domain/errors.ts';
import { PARTS, type PartName } from './parts.ts';
import type { PayloadCodecName } from './state.ts';

/** What the environment says about where programs are and go. */
export interface DevSettings {
  /** Shared by all checkouts of this user: what is in it was costly to build. */
  readonly cacheDir: string;
  /** Programs that were set explicitly. */
  readonly programs: Readonly<Partial<Record<PartName, string>>>;
  readonly path: string;
  /** What installers get: they need the proxies, registries and certificates that the user has set. */
  readonly installEnv: NodeJS.ProcessEnv;
  /** Whether the stack's worker encrypts what it tells Temporal. */
  readonly payloadCodec: PayloadCodecName;
}

/**
 * @param env `BYOC_CACHE`, `XDG_CACHE_HOME`, `PATH`, `BYOC_PAYLOAD_CODEC` and each part's `BYOC_…_BIN` are read
 * @throws {ConnectorError} CONFIG_INVALID
 */
export function devSettings(env: NodeJS.ProcessEnv): DevSettings {
  const userCache = env['XDG_CACHE_HOME'] || join(homedir(), '.cache');
  const names = Object.keys(PARTS) as PartName[]; // the table's own keys
  const set = names.flatMap((name) => {
    const program = env[PARTS[name].env];
    return program ? [[name, program] as const] : [];
  });
  return {
    cacheDir: env['BYOC_CACHE'] || join(userCache, 'byoc-connector'),
    programs: Object.fromEntries(set),
    path: env['PATH'] ?? '',
    installEnv: env,
    payloadCodec: payloadCodecIn(env) ?? 'off',
  };
}

/** @throws {ConnectorError} CONFIG_INVALID */
export function payloadCodecIn({ BYOC_PAYLOAD_CODEC: codec }: NodeJS.ProcessEnv): PayloadCodecName | undefined {
  if (codec === undefined || codec === '') return undefined;
  if (codec === 'vault' || codec === 'off') return codec;
  throw new ConnectorError('CONFIG_INVALID', 'BYOC_PAYLOAD_CODEC must be vault or off.');
}
