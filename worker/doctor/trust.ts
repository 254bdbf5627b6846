import { readFile } from 'node:fs/promises';
import { checkPolicy } from '../../activities/policy/load-policy.ts';
import type { ApproverKey, ApproverSource } from '../../activities/sigstore/approver-keys.ts';
import { fileApproverSource, vaultApproverSource } from '../../activities/sigstore/approver-keys.ts';
import type { KeySource, TrustedKey } from '../../activities/sigstore/keys.ts';
import { cosignKeySource } from '../../activities/sigstore/keys.ts';
import { vaultKeySource } from '../../activities/sigstore/vault-keys.ts';
import { readTrustedRoot } from '../../activities/sigstore/trusted-root.ts';
import { loadPayloadKeys } from '../../activities/vault/payload-keys.ts';
import type { PayloadKey } from '../../domain/payload-key.ts';
import type { WorkerConfig } from '../config.ts';
import type { Vault, VaultSettings } from '../../activities/vault/vault.ts';
import { createVault } from '../../activities/vault/vault.ts';
import { ConnectorError } from '../../domain/errors.ts';
import { identityKey } from '../../domain/identity.ts';
import type { Policy } from '../../domain/policy.ts';
import { BUILT_IN_POLICY } from '../../domain/policy.ts';
import { idleEntries } from '../../domain/policy/idle-entries.ts';
import { RISK_LEVELS } from '../../domain/wpk.ts';
import { describePlace } from '../../domain/errors.ts';
import { counted, found, ok } from './check.ts';
import type { CheckGroup, Told } from './check.ts';
import type { FindingCode } from './catalogue.ts';

export interface TrustOptions {
  readonly clusterId: string;
  readonly policyPath: string | undefined;
  readonly trustedRootPath: string | undefined;
  readonly cosignKey: string | undefined;
  readonly approversPath: string | undefined;
  readonly payloadCodec: WorkerConfig['payloadCodec'];
  /** In production what Temporal sees is encrypted. */
  readonly isProduction: boolean;
  /** The login of the role that reads keys. */
  readonly vault: VaultSettings | undefined;
  readonly now: () => Date;
}

const SOON_MS = 21 * 86_400_000;
const DAY_MS = 86_400_000;

/** What decides: the policy, and whose signatures count. */
export function trustChecks(options: TrustOptions): CheckGroup {
  const { clusterId, policyPath, trustedRootPath, cosignKey, approversPath, now } = options;
  let policy: Policy = BUILT_IN_POLICY;
  let opened: Vault | undefined;
  // A wrapping token is good for one login, which is the worker's.
  const isWrapped = options.vault?.auth.method === 'approle' && options.vault.auth.wrappedAt !== undefined;
  const vault = () => (options.vault && !isWrapped ? (opened ??= createVault(options.vault)) : undefined);
  const needs = options.vault ? ['vault.rights.execution'] : [];
  const leftAlone = ok('Not asked: the wrapping token is left for the worker.');

  return {
    checks: [
      {
        name: 'policy',
        async run() {
          if (policyPath === undefined) return [ok('None is set: people approve everything, by signed votes.')];
          const text = await readFile(policyPath, 'utf8').catch(() => undefined);
          if (text === undefined) return [found('POLICY_INVALID', `${policyPath} cannot be read.`)];
          const checked = checkPolicy(text);
          if (!checked.policy)
            return checked.problems.map(({ detail, place }) =>
              found('POLICY_INVALID', `${policyPath}: ${detail} (${describePlace(place)})`),
            );
          policy = checked.policy;
          return judgePolicy(policy, policyPath);
        },
      },
      ...(trustedRootPath === undefined
        ? []
        : [
            {
              name: 'trusted-root',
              run: async () => [await judgeTrustedRoot(trustedRootPath)],
            },
          ]),
      {
        name: 'signing-keys',
        needs: cosignKey !== undefined && !options.vault ? [] : needs,
        after: ['policy'],
        async run() {
          const source = vault()
            ? vaultKeySource({ vault: vault() as Vault, clusterId })
            : cosignKey === undefined
              ? undefined
              : fromSetting(cosignKey);
          if (!source) return [leftAlone];
          return judgeSigningKeys(await loaded(source, 'SIGNING_KEYS_UNREADABLE'), policy, now());
        },
      },
      {
        name: 'approvers',
        needs: approversPath === undefined ? needs : [],
        after: ['policy'],
        async run() {
          if (approversPath === undefined && isWrapped) return [leftAlone];
          const keys = await loaded(approverSource(approversPath, vault(), clusterId), 'APPROVERS_UNREADABLE');
          return judgeApprovers(keys, policy, now());
        },
      },
      {
        name: 'payload-keys',
        needs: options.payloadCodec === 'vault' ? needs : [],
        async run() {
          if (options.payloadCodec === 'off') {
            const plain = 'What the worker tells Temporal is not encrypted (BYOC_PAYLOAD_CODEC)';
            return [options.isProduction ? found('PAYLOADS_PLAIN', `${plain}.`) : ok(`${plain}: development.`)];
          }
          const through = vault();
          if (!through) return [leftAlone];
          const source = { load: () => loadPayloadKeys(through, clusterId) };
          return [judgePayloadKeys(await loaded(source, 'PAYLOAD_KEYS_UNREADABLE'), now())];
        },
      },
    ],
    async close() {
      await opened?.close();
    },
  };
}

function judgePolicy(policy: Policy, path: string): Told[] {
  const told = [
    ...(policy.approvals.acceptAsserted
      ? [found('POLICY_ASSERTED', 'Votes count that prove nothing about who sent them.')]
      : []),
    ...(policy.protectedNamespaces.includes('kube-system')
      ? []
      : [found('POLICY_UNPROTECTED', 'Packages may touch kube-system.')]),
    ...idleEntries(policy).map(({ place, why }) => found('POLICY_IDLE', `${place}: ${why}.`)),
  ];
  return told.length > 0 ? told : [ok(`${path} is valid; protected: ${policy.protectedNamespaces.join(', ')}.`)];
}

async function judgeTrustedRoot(path: string): Promise<Told> {
  try {
    const { certificateAuthorities, tlogs } = await readTrustedRoot(path);
    return ok(`${certificateAuthorities.length} authorities and ${tlogs.length} transparency logs are trusted.`);
  } catch (error) {
    return found('TRUSTED_ROOT_INVALID', detailOf(error));
  }
}

type Loaded<Key> = { readonly keys: readonly Key[] } | { readonly told: Told };

async function loaded<Key>(source: { load(): Promise<readonly Key[]> }, code: FindingCode): Promise<Loaded<Key>> {
  try {
    return { keys: await source.load() };
  } catch (error) {
    return { told: found(code, detailOf(error)) };
  }
}

/** Reading the setting may fail already. */
function fromSetting(setting: string): KeySource {
  return { load: async () => cosignKeySource(setting).load() };
}

function approverSource(path: string | undefined, vault: Vault | undefined, clusterId: string): ApproverSource {
  if (path !== undefined) return fileApproverSource(path);
  return vault ? vaultApproverSource({ vault, clusterId }) : { load: () => Promise.resolve([]) };
}

interface Sorted<Key> {
  readonly good: readonly Key[];
  readonly revoked: number;
  readonly expired: number;
  readonly soon: readonly { readonly name: string; readonly days: number }[];
}

function sorted<Key extends TrustedKey>(keys: readonly Key[], now: Date): Sorted<Key> {
  const live = keys.filter(({ revokedAt }) => revokedAt === undefined);
  const isExpired = ({ notAfter }: Key) => notAfter !== undefined && notAfter <= now;
  const good = live.filter((key) => !isExpired(key) && (key.notBefore === undefined || key.notBefore <= now));
  const soon = good.flatMap(({ name, notAfter }) => {
    const leftMs = notAfter ? notAfter.getTime() - now.getTime() : Infinity;
    return leftMs < SOON_MS ? [{ name, days: Math.floor(leftMs / DAY_MS) }] : [];
  });
  return { good, revoked: keys.length - live.length, expired: live.filter(isExpired).length, soon };
}

function judgeSigningKeys(loadedKeys: Loaded<TrustedKey>, policy: Policy, now: Date): Told[] {
  if ('told' in loadedKeys) return [loadedKeys.told];
  const { keys } = loadedKeys;
  const isKeyless = policy.signing.keyless.length > 0;
  const { good, revoked, expired, soon } = sorted(keys, now);
  const state = `${good.length} of ${counted(keys.length, 'key')} may sign${also(revoked, expired)}`;
  if (good.length === 0 && !isKeyless) {
    return keys.length === 0
      ? [found('SIGNING_KEYS_NONE', 'There is no signing key.')]
      : [found('SIGNING_KEYS_NONE_VALID', `No signing key counts: ${state}.`)];
  }
  // Where the last one ends, a successor is wanted; where another goes on, there is one.
  const isLast = soon.length === good.length;
  const ending = isLast
    ? soon.map(({ name, days }) =>
        found('SIGNING_KEY_EXPIRING', `${name} ends in ${counted(days, 'day')}, and none goes on after it.`),
      )
    : [];
  return ending.length > 0 ? ending : [ok(`${state}${isKeyless ? '; identities may sign too' : ''}.`)];
}

function judgeApprovers(loadedKeys: Loaded<ApproverKey>, policy: Policy, now: Date): Told[] {
  if ('told' in loadedKeys) return [loadedKeys.told];
  const { keys } = loadedKeys;
  const { good, revoked, expired, soon } = sorted(keys, now);
  const people = new Set(good.map(({ identity }) => identityKey(identity)));
  const { approvals } = policy;
  const told: Told[] = soon.map(({ name, days }) =>
    found('APPROVER_EXPIRING', `The key ${name} ends in ${counted(days, 'day')}.`),
  );
  if (people.size === 0 && !approvals.acceptAsserted)
    return [found('APPROVERS_NONE', `No approver's key counts${also(revoked, expired)}.`)];
  for (const level of RISK_LEVELS) {
    const { quorum, groups } = approvals[level];
    // A bare vote counts where one is enough.
    const isEnough = people.size >= quorum || (quorum === 1 && approvals.acceptAsserted);
    if (!isEnough)
      told.push(
        found('APPROVERS_TOO_FEW', `Risk ${level} needs ${quorum} people, and the keys of ${people.size} count.`),
      );
    for (const group of groups) {
      if (!good.some((key) => key.groups.includes(group)))
        told.push(found('APPROVERS_TOO_FEW', `Risk ${level} needs somebody of ${group}, and nobody's key is of it.`));
    }
  }
  return told.length > 0
    ? told
    : [ok(`The keys of ${counted(people.size, 'person', 'people')} count${also(revoked, expired)}.`)];
}

function judgePayloadKeys(loadedKeys: Loaded<PayloadKey>, now: Date): Told {
  if ('told' in loadedKeys) return loadedKeys.told;
  const { keys } = loadedKeys;
  const writing = keys.filter(({ writeFrom }) => writeFrom === undefined || writeFrom <= now);
  if (writing.length === 0) return found('PAYLOAD_KEYS_NONE', `No key encrypts; ${keys.length} are there.`);
  return ok(`${counted(keys.length, 'key')} for what Temporal holds; the newest that may encrypts.`);
}

function also(revoked: number, expired: number): string {
  const more = [revoked > 0 && `${revoked} revoked`, expired > 0 && `${expired} expired`].filter(Boolean);
  return more.length > 0 ? `, ${more.join(', ')}` : '';
}

function detailOf(error: unknown): string {
  return error instanceof ConnectorError ? error.detail || error.message : 'It cannot be read.';
}
