import { describe, expect, it } from '@jest/globals';
import { ConnectorError } from '../../domain/errors.ts';
import { RegistrationWatch } from '../../worker/registration-watch.ts';
import { isOlderVersion, LinkWatch, warningIn } from '../../worker/link-watch.ts';
import { PartWatch } from '../../worker/part-watch.ts';

// R15, R24, R25

const away = new ConnectorError('CONTROL_PLANE_UNAVAILABLE');
const denied = new ConnectorError('CONTROL_PLANE_DENIED');
const SINCE = '1970-01-01T00:00:01.000Z';

describe('the watch over the link', () => {
  it('tells of the loss once, after it has lasted, and when it is over', () => {
    const watch = new LinkWatch(90_000);
    expect(watch.failed(away, 1_000)).toEqual([]);
    expect(watch.health()).toMatchObject({ state: 'degraded', code: 'CONTROL_PLANE_UNAVAILABLE' });
    expect(watch.failed(away, 90_999)).toEqual([]);
    const detail = { since: SINCE, code: 'CONTROL_PLANE_UNAVAILABLE' };
    expect(watch.failed(away, 91_000)).toEqual([{ type: 'link.lost', detail }]);
    expect(watch.failed(away, 200_000)).toEqual([]);
    expect(watch.health()).toMatchObject({ state: 'down' });
    expect(watch.answered()).toEqual([{ type: 'link.restored', detail: { lostSince: SINCE } }]);
    expect([watch.answered(), watch.health()]).toEqual([[], { state: 'ok' }]);
  });

  it('tells nothing of a hiccup', () => {
    const watch = new LinkWatch(90_000);
    const told = [0, 60_000, 120_000].flatMap((at) => [...watch.failed(away, at), ...watch.answered()]);
    expect(told).toEqual([]);
  });

  it('tells of a refused token at once, and again only after one was accepted', () => {
    const watch = new LinkWatch(90_000);
    const refusals = () => watch.failed(denied, 0).map(({ type }) => type);
    expect([refusals(), refusals()]).toEqual([['authentication.failed'], []]);
    watch.answered();
    expect(refusals()).toEqual(['authentication.failed']);
  });
});

describe('what is told of the registration', () => {
  const at = (second: number) => new Date(second * 1_000);

  it('is what the control plane has answered, and stays so while it is silent', () => {
    const watch = new RegistrationWatch();
    watch.failed(away);
    expect(watch.report()).toEqual({ state: 'unknown' });
    watch.answered('registerCluster', at(1));
    watch.answered('sendHeartbeat', at(2));
    const [registeredAt, beatAt] = [SINCE, '1970-01-01T00:00:02.000Z'];
    watch.failed(away);
    expect(watch.report()).toEqual({ state: 'registered', registeredAt, beatAt });
  });

  it('is that the control plane does not know the cluster, until it does', () => {
    const watch = new RegistrationWatch();
    watch.failed(new ConnectorError('CONTROL_PLANE_NOT_REGISTERED'));
    expect(watch.report()).toEqual({ state: 'unregistered' });
    watch.answered('registerCluster', at(1));
    expect(watch.report()).toEqual({ state: 'registered', registeredAt: SINCE });
  });
});

describe('the watch over the parts', () => {
  it('tells of a part that is found bad twice in a row, once, and when it is well again', () => {
    const watch = new PartWatch();
    const look = (...states: ('ok' | 'degraded' | 'down')[]) =>
      states.flatMap((state) =>
        watch.look([{ name: 'vault', state, ...(state !== 'ok' && { code: 'VAULT_UNAVAILABLE' }) }]),
      );
    expect(look('ok', 'down', 'ok')).toEqual([]);
    expect(look('degraded', 'down', 'down')).toEqual([
      { type: 'part.unhealthy', detail: { part: 'vault', state: 'down', code: 'VAULT_UNAVAILABLE' } },
    ]);
    expect(look('ok', 'ok')).toEqual([{ type: 'part.recovered', detail: { part: 'vault' } }]);
  });
});

describe('the minimum version', () => {
  it.each([
    ['0.1.0', '0.1.1', true],
    ['0.9.0', '0.10.0', true],
    ['1.0.0', '0.9.9', false],
    ['1.2.3', '1.2.3', false],
    ['1.2.3', 'v2.0.0-rc.1', true],
    ['1.2.3', 'newest', false],
  ])('%s is older than %s: %s', (version, than, isOlder) => {
    expect(isOlderVersion(version, than)).toBe(isOlder);
  });

  it('is a warning and nothing else', () => {
    expect(warningIn({ minimumVersion: '9.0.0' }, '0.1.0')).toContain('9.0.0');
    expect(warningIn({}, '0.1.0')).toBeUndefined();
  });
});
