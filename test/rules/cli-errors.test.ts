import { describe, expect, it } from '@jest/globals';
import { withWhereAsked } from '../../client/cli/settings.ts';
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
});
