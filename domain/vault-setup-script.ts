import { isReference, VAULT_LOGINS, secretAt, vaultNameOf } from './vault-setup.ts';
import type { SetupStep, SetupValue } from './vault-setup.ts';

/**
 * A setup as a shell script of `vault` (or `bao`) commands, for people to read and run. It may be run again at any time.
 * @param tool the command
 */
export function setupScript(clusterId: string, steps: readonly SetupStep[], tool: 'vault' | 'bao'): string[] {
  return [
    '#!/bin/sh',
    `# What the connector of cluster ${clusterId} needs in Vault. An administrator runs it once, and again after an update.`,
    'set -eu',
    ...steps.flatMap((step) => ['', `# ${step.why}`, ...commandOf(step, tool)]),
    '',
    '# Then, for the pod of each role: its role_id (VAULT_ROLE_ID), and a secret_id in a Secret that only it mounts',
    '# (VAULT_SECRET_ID_FILE). Nobody sees a secret_id that is wrapped: -wrap-ttl=10m.',
    ...VAULT_LOGINS.flatMap((role) => {
      const path = `auth/approle/role/${vaultNameOf(clusterId, role)}`;
      return [`# ${tool} read -field=role_id ${path}/role-id`, `# ${tool} write -f -field=secret_id ${path}/secret-id`];
    }),
  ];
}

function commandOf({ path, data, once, keyBytes }: SetupStep, tool: string): string[] {
  if (keyBytes !== undefined) {
    const { mount, folder, name } = secretAt(path);
    return [
      `${tool} kv list -mount=${mount} ${folder} >/dev/null 2>&1 || \\`,
      `  openssl rand -base64 ${keyBytes} | ${tool} kv put -mount=${mount} -cas=0 ${folder}/${name} key=-`,
    ];
  }
  const make = makeOf(path, data, tool);
  return once ? [`${tool} read ${path} >/dev/null 2>&1 || \\`, `  ${make.join('\n')}`] : make;
}

function makeOf(path: string, data: SetupStep['data'], tool: string): string[] {
  const [, kind, name] = /^sys\/(mounts|auth|policies\/acl)\/(.+)$/.exec(path) ?? [];
  const { type, options, policy } = data;
  switch (kind) {
    case 'mounts':
      return [`${tool} secrets enable -path=${name} -version=${Object(options).version} ${String(type)}`];
    case 'auth':
      return [`${tool} auth enable ${String(type)}`];
    case 'policies/acl':
      return [`${tool} policy write ${name} - <<'EOF'`, ...String(policy).trimEnd().split('\n'), 'EOF'];
    default: {
      const settings = Object.entries(data).flatMap(([key, value]) => assignments(key, value, tool));
      return [
        `${tool} write ${path} \\`,
        ...settings.map((one, i) => `  ${one}${i < settings.length - 1 ? ' \\' : ''}`),
      ];
    }
  }
}

function assignments(key: string, value: SetupValue, tool: string): string[] {
  if (isReference(value)) return [`${key}="$(${tool} read -field=${value.field} ${value.read})"`];
  if (Array.isArray(value)) return [`${key}=${value.join(',')}`];
  if (typeof value === 'object') return Object.entries(value).map(([name, text]) => `${key}=${name}=${text}`);
  const text = String(value);
  return [/^[\w./:-]*$/.test(text) ? `${key}=${text}` : `${key}='${text}'`];
}
