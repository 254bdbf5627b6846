import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import { VaultRequestError } from '../../activities/vault/requests.ts';
import { openSession } from '../../activities/vault/session.ts';
import type { Grant, SessionEvent } from '../../activities/vault/session.ts';

// R11; the real server is in test/activities/vault, here is what would take it minutes to show.

const refused = () => new VaultRequestError(400, 'it refused the role_id or the secret_id');
const away = () => new VaultRequestError(undefined, 'no answer (ECONNREFUSED)');

const asError = (call: () => Promise<unknown>) => call().catch((error: unknown) => error);

describe('a session', () => {
  function sessionOf(answer: () => Grant) {
    const clock = { now: 0 };
    const state = { logins: 0, secretId: 'one', events: [] as SessionEvent[] };
    const session = openSession({
      secretId: async () => state.secretId,
      logIn: async () => {
        state.logins += 1;
        return answer();
      },
      renew: () => Promise.reject(away()),
      isAlive: async () => false,
      revoke: async () => undefined,
      onEvent: async (event) => void state.events.push(event),
      now: () => clock.now,
      random: () => 0,
    });
    const call = () => session.authorised(async (token) => token);
    return { clock, state, session, call };
  }

  it('leaves Vault alone after a refusal, and asks again when the time is over or the secret is another', async () => {
    const { clock, state, session, call } = sessionOf(() => {
      throw refused();
    });
    for (let i = 0; i < 5; i += 1) expect(await asError(call)).toMatchObject({ status: 400 });
    expect(state.logins).toBe(1);
    state.secretId = 'two';
    await asError(call);
    expect(state.logins).toBe(2);
    clock.now = 29_999;
    await asError(call);
    expect(state.logins).toBe(2);
    clock.now = 30_000;
    await asError(call);
    expect(state.logins).toBe(3);
    expect(state.events.map(({ kind }) => kind)).toEqual(['login-failed', 'login-failed', 'login-failed']);
    await session.close();
  });

  it('does not turn in circles where Vault is gone after a refusal whose time is over', async () => {
    const answers = [refused(), away()];
    const { clock, state, session, call } = sessionOf(() => {
      throw answers.shift() ?? away();
    });
    await asError(call);
    clock.now = 60_000;
    expect(await asError(call)).toMatchObject({ status: undefined });
    await sleep(100);
    expect(state.logins).toBe(2);
    await session.close();
  });

  it('uses no token whose login could not be recorded', async () => {
    const unrecorded = new Error('the audit log cannot be written');
    const session = openSession({
      secretId: async () => 'one',
      logIn: async () => ({ token: 't', ttlMs: 60_000, renewable: true }),
      renew: () => Promise.reject(away()),
      isAlive: async () => true,
      revoke: async () => undefined,
      onEvent: () => Promise.reject(unrecorded),
      now: () => 0,
      random: () => 0,
    });
    const used: string[] = [];
    expect(await asError(() => session.authorised(async (token) => used.push(token)))).toBe(unrecorded);
    expect(used).toEqual([]);
    await session.close();
  });
});
