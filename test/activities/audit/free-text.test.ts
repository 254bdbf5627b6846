import { describe, expect, it } from '@jest/globals';
import { freeTextFilter } from '../../../activities/audit/free-text.ts';
import { sha256 } from '../../../client/sha256.ts';
import type { AuditEvent } from '../../../domain/audit.ts';
import { AUDIT_CATALOGUE } from '../../../domain/audit-catalogue.ts';

const filter = freeTextFilter(sha256);
const event = (type: AuditEvent['type'], detail: AuditEvent['detail']): AuditEvent => ({
  eventId: sha256('one'),
  type,
  actor: { id: 'bob@example.com', proof: 'asserted' },
  outcome: 'succeeded',
  detail,
});

describe('what people write into the audit log', () => {
  it.each([
    ['vote.recorded', 'comment'],
    ['package.stopped', 'reason'],
    ['freeze.set', 'reason'],
    ['freeze.lifted', 'reason'],
  ] as const)('loses in %s what is personal or secret, and keeps a digest of the original', async (type, field) => {
    const original = 'asked joe@example.com, card 4111 1111 1111 1111, host 10.0.0.7';
    const { detail } = await filter(event(type, { [field]: original }));
    expect(detail).toEqual({
      [field]: 'asked [email], card [card], host 10.0.0.7',
      [`${field}Digest`]: sha256(original),
    });
    expect(Object.keys(AUDIT_CATALOGUE[type].detail.shape)).toEqual(expect.arrayContaining([field, `${field}Digest`]));
  });

  it('stays as it is where there is nothing to take out', async () => {
    const plain = event('vote.recorded', { comment: 'looks good' });
    expect(await filter(plain)).toBe(plain);
  });

  it('is looked for only where people write', async () => {
    const other = event('package.approved', { reason: 'joe@example.com' });
    expect(await filter(other)).toBe(other);
  });
});
