import { readFile } from 'node:fs/promises';
import { parse as parseYaml } from 'yaml';
import { z } from 'zod';
import { ConnectorError } from '../../domain/errors.ts';
import { identityKey } from '../../domain/identity.ts';
import type { Vault } from '../vault/vault.ts';
import { keyFields, keyOf, parseEntry } from './key-entry.ts';
import type { SourceOf, TrustedKey } from './keys.ts';
import { loadVaultFolder } from '../vault/folder.ts';

/** A key that signs votes, with whose it is. */
export interface ApproverKey extends TrustedKey {
  /** Whose key it is; a vote under another name does not count. */
  readonly identity: string;
  readonly groups: readonly string[];
}

/** Where approvers' keys come from. `load` throws APPROVERS_UNAVAILABLE rather than returning less than there is. */
export type ApproverSource = SourceOf<ApproverKey>;

/** Where no source is configured nobody's signature counts. */
export const NO_APPROVERS: ApproverSource = { load: () => Promise.resolve([]) };

/** Far more than approve anything; keeps a runaway listing from costing time with each vote. */
const MAX_APPROVERS = 1000;
const MAX_FILE_BYTES = 1_048_576;

/** What nobody sees must not tell two names apart. */
const visible = (max: number) =>
  z
    .string()
    .min(1)
    .max(max)
    .regex(/^[^\p{C}\p{Z}]+( [^\p{C}\p{Z}]+)*$/u, 'must be visible text, without spaces around it');

const groupNames = z.array(visible(128)).max(64);
const entryFields = {
  ...keyFields,
  identity: visible(256),
  /** A list, or a text with commas, which is what the `vault` command writes. */
  groups: z
    .union([groupNames, z.string().max(8192).transform(splitCommas).pipe(groupNames)], {
      error: 'must be a list of names, or names with commas between them',
    })
    .default([]),
};
const secretSchema = z.strictObject(entryFields);
const fileSchema = z.strictObject({ ...entryFields, name: visible(256).optional() });

/**
 * Approvers' keys from Vault's KV engine (version 2): one secret a key at `byoc/<clusterId>/approvers/<name>`, with the
 * fields `pem`, `identity`, and where wanted `groups`, `notBefore`, `notAfter` and `revokedAt`.
 *
 * As for signing keys, one entry that cannot be read makes all unavailable: it may be the one that revokes. So do two
 * entries that contradict each other, see `consistent`.
 * @param mount where the engine is mounted
 */
export function vaultApproverSource({
  vault,
  clusterId,
  mount = 'secret',
}: {
  vault: Vault;
  clusterId: string;
  mount?: string;
}): ApproverSource {
  return {
    async load() {
      const keys = await loadVaultFolder({
        vault,
        mount,
        folder: `byoc/${clusterId}/approvers`,
        kind: 'approver',
        unavailable: 'APPROVERS_UNAVAILABLE',
        read: (name, data) => approverOf(name, parseEntry(secretSchema, data)),
      });
      return consistent(keys);
    },
  };
}

/**
 * Approvers' keys from a YAML file: a list of entries with the fields that they have in Vault, and a `name` where the
 * identity does not say enough. The file is read again each time, so a change counts from the next vote on.
 */
export function fileApproverSource(path: string): ApproverSource {
  return {
    async load() {
      const entries = parseFile(await readApprovers(path));
      return consistent(entries.map((entry, index) => readFileEntry(entry, index + 1)));
    },
  };
}

function parseFile(text: string): unknown[] {
  let value: unknown;
  try {
    // Aliases would let a small file stand for a huge one, and hide what it says.
    value = parseYaml(text, { version: '1.2', uniqueKeys: true, merge: false, maxAliasCount: 0 });
  } catch (cause) {
    throw unavailable(`The file is not YAML as it is accepted: ${cause instanceof Error ? cause.message : ''}`, cause);
  }
  if (!Array.isArray(value)) throw unavailable('The file must hold a list.');
  return value;
}

function readFileEntry(data: unknown, number: number): ApproverKey {
  try {
    const entry = parseEntry(fileSchema, data);
    return approverOf(entry.name ?? entry.identity, entry);
  } catch (cause) {
    throw unavailable(`Entry ${number} of the file: ${cause instanceof Error ? cause.message : ''}.`, cause);
  }
}

function approverOf(name: string, entry: z.output<typeof secretSchema>): ApproverKey {
  return { ...keyOf(name, entry), identity: entry.identity, groups: entry.groups };
}

/**
 * Refuses entries that contradict each other, because two votes that look like two people's could be one person's:
 * - a key is listed once: under two identities it could vote twice, and of two lists of groups it could use either;
 * - an identity has one spelling: `Bob@example.com` and `bob@example.com` are one person, who may well have several keys.
 * @throws {ConnectorError} APPROVERS_UNAVAILABLE, which names both
 */
function consistent(keys: readonly ApproverKey[]): readonly ApproverKey[] {
  if (keys.length > MAX_APPROVERS) throw unavailable(`There are more than ${MAX_APPROVERS} of them.`);
  const byFingerprint = new Map<string, ApproverKey>();
  const byIdentity = new Map<string, ApproverKey>();
  for (const key of keys) {
    const same = byFingerprint.get(key.fingerprint);
    if (same) throw unavailable(`${same.name} and ${key.name} are one and the same key; a key is listed once.`);
    byFingerprint.set(key.fingerprint, key);
    const person = byIdentity.get(identityKey(key.identity));
    if (person && person.identity !== key.identity) {
      const spellings = `${person.identity} (${person.name}) and ${key.identity} (${key.name})`;
      throw unavailable(`${spellings} are one identity in two spellings; choose one of them.`);
    }
    byIdentity.set(identityKey(key.identity), key);
  }
  return keys;
}

function splitCommas(text: string): string[] {
  return text
    .split(',')
    .map((group) => group.trim())
    .filter((group) => group !== '');
}

async function readApprovers(path: string): Promise<string> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (cause) {
    throw unavailable('The file that BYOC_APPROVERS names cannot be read.', cause);
  }
  if (bytes.length > MAX_FILE_BYTES) throw unavailable('The file that BYOC_APPROVERS names is larger than 1 MiB.');
  return new TextDecoder().decode(bytes);
}

function unavailable(detail: string, cause?: unknown): ConnectorError {
  return new ConnectorError('APPROVERS_UNAVAILABLE', detail, { cause });
}
