import { describe, expect, it } from '@jest/globals';
import { withWhereAsked } from '../../client/cli/settings.ts';
import { tooLate } from '../../client/cli/votes.ts';
import type { PackageView } from '../../client/package-view.ts';
import { ConnectorError } from '../../domain/errors.ts';

describe('what byoc says', () => {
  it('of an id that is not found names the cluster that was asked', () => {
    const told = withWhereAsked(new ConnectorError('WPK_NOT_FOUND', '01JD'), 'prod-eu-1');
    expect(told).toMatchObject({
      code: 'WPK_NOT_FOUND',
      message: expect.stringMatching(
        /^There is no work package with this id. The cluster prod-eu-1 has none with the id 01JD. .* list --cluster prod-eu-1$/,
      ),
    });
  });

  it('of anything else is left as it is', () => {
    const error = new ConnectorError('APPROVAL_CLOSED', 'It ended as failed.');
    expect(withWhereAsked(error, 'prod-eu-1')).toBe(error);
  });

  const executing: PackageView = {
    ...{ wpkId: '01JD', workflowId: 'w', runId: 'r', startedAt: 's', phase: 'executing', since: 's' },
    ...{ timeline: [], approvers: [], votes: [], replans: 0 },
  };
  it('of a no that comes after the approval tells when it counts, and how to be sure', () => {
    expect(tooLate(new ConnectorError('APPROVAL_CLOSED'), executing).message).toMatch(
      /is not waiting for votes. It is approved already; where it has not begun, the no is kept and counts. To be sure: .*stop 01JD$/,
    );
  });

  it('of a no that comes at any other time says nothing of that', () => {
    const error = new ConnectorError('APPROVAL_CLOSED', 'It ended as failed.');
    expect(tooLate(error, { ...executing, phase: 'failed' })).toBe(error);
  });
});
