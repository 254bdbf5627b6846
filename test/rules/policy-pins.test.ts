import { describe, expect, it } from '@jest/globals';
import { BUILT_IN_POLICY, pinRefusal, policySchema } from '../../domain/policy.ts';

const FINGERPRINT = 'mEmSkNDT6DfR9Tq1FhRwIpyZSL7rSLxDaJ/FQcr1bSk=';
const OTHER = 'LXEWQrcmsEQBYnyp+6wy9chTD7GQPMTbAiWHF5IaSIE=';
const CAROL = 'carol@example.com';
const carol = { name: 'laptop', fingerprint: FINGERPRINT, identity: CAROL, groups: ['sre'] };

const pinning = (...pinnedKeys: unknown[]) => policySchema.parse({ ...BUILT_IN_POLICY, approvals: { pinnedKeys } });

/** Whoever can write to Vault can say whose a pinned key is; the policy file is somewhere else. */
describe('a pin of an approver’s key', () => {
  it('is not needed where the policy pins none, and any is where it pins some', () => {
    expect(pinRefusal(BUILT_IN_POLICY, carol)).toBeUndefined();
    expect(pinRefusal(pinning(), carol)).toBe('The policy does not pin the key laptop.');
    expect(pinRefusal(pinning(OTHER), carol)).toBe('The policy does not pin the key laptop.');
  });

  it('leaves it to Vault whose the key is where it is a fingerprint alone', () => {
    expect(pinRefusal(pinning(OTHER, FINGERPRINT), carol)).toBeUndefined();
    expect(pinRefusal(pinning({ fingerprint: FINGERPRINT }), carol)).toBeUndefined();
  });

  it('takes the key for nobody else’s where it names the owner', () => {
    const policy = pinning({ fingerprint: FINGERPRINT, identity: 'Carol@example.com' });
    expect(pinRefusal(policy, carol)).toBeUndefined();
    expect(pinRefusal(policy, { ...carol, identity: 'dave@example.com' })).toBe(
      'The key laptop is listed as of dave@example.com; the policy pins it as of Carol@example.com.',
    );
  });

  it('takes its owner into no other group where it names the groups', () => {
    const policy = pinning({ fingerprint: FINGERPRINT, groups: ['sre', 'payments'] });
    expect(pinRefusal(policy, carol)).toBeUndefined();
    expect(pinRefusal(policy, { ...carol, groups: [] })).toBeUndefined();
    const refusal = 'The key laptop is listed as of security, which the policy does not pin.';
    expect(pinRefusal(policy, { ...carol, groups: ['sre', 'security'] })).toBe(refusal);
    expect(pinRefusal(pinning({ fingerprint: FINGERPRINT, groups: [] }), carol)).toBeDefined();
  });
});
