import { sameIdentity } from '../identity.ts';
import type { Policy } from './schema.ts';

/** What Vault, or a file, says of the key of an approver. */
export interface ListedApprover {
  /** Of the entry. */
  readonly name: string;
  readonly fingerprint: string;
  readonly identity: string;
  readonly groups: readonly string[];
}

/**
 * Why an approver's key does not count by the pins of the policy, as a sentence; undefined where it does. Whoever can
 * write to Vault can not only swap a key, but also say whose it is: a pin that names the owner or their groups is
 * believed instead, and an entry that says more than it counts for nothing.
 */
export function pinRefusal(
  { approvals: { pinnedKeys } }: Policy,
  { name, fingerprint, identity, groups }: ListedApprover,
): string | undefined {
  if (!pinnedKeys) return undefined;
  const pin = pinnedKeys.find((one) => one.fingerprint === fingerprint);
  if (!pin) return `The policy does not pin the key ${name}.`;
  if (pin.identity !== undefined && !sameIdentity(pin.identity, identity)) {
    return `The key ${name} is listed as of ${identity}; the policy pins it as of ${pin.identity}.`;
  }
  const added = pin.groups && groups.find((group) => !pin.groups?.includes(group));
  return added === undefined ? undefined : `The key ${name} is listed as of ${added}, which the policy does not pin.`;
}
