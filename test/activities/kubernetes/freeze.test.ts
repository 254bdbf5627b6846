import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { ulid } from 'ulid';
import { ApiStatusError } from '../../../activities/kubernetes/api-status-error.ts';
import type { FreezeVersion } from '../../../activities/kubernetes/freeze-watch.ts';
import { FreezeWatch } from '../../../activities/kubernetes/freeze-watch.ts';
import type { KubeApi } from '../../../activities/kubernetes/kube-api.ts';
import { createStateRecords, writeFreeze } from '../../../activities/kubernetes/writer.ts';
import { FreezeRecords } from '../../../activities/package/freeze-records.ts';
import type { AuditEvent } from '../../../domain/audit.ts';
import { freezeNameOf } from '../../../domain/freeze.ts';
import { adminApi } from '../../support/kubernetes-admin.ts';
import { sha256 } from '../../support/kubernetes.ts';
import { sharedServices } from '../../support/stack.ts';
import { until } from '../../support/until.ts';

describe('the freeze of a cluster', () => {
  let api: KubeApi;
  let clusterId: string;
  let watches: FreezeWatch[];

  beforeAll(async () => {
    api = adminApi((await sharedServices()).kubernetes.kubeconfig);
  });
  afterAll(() => api.close());
  beforeEach(() => {
    clusterId = `test-${ulid().toLowerCase()}`;
    watches = [];
  });
  afterEach(() => Promise.all(watches.map((one) => one.close())));

  const set = (frozen: boolean, reason = '') =>
    writeFreeze(api, clusterId, { frozen: String(frozen), reason, by: 'alice' }, 'byoc');
  const remove = () => createStateRecords(api).remove(freezeNameOf(clusterId));
  const read = () => createStateRecords(api).read(freezeNameOf(clusterId));

  async function watch(through: Pick<KubeApi, 'get' | 'watch'> = api) {
    const versions: FreezeVersion[] = [];
    const readable: boolean[] = [];
    const one = new FreezeWatch({
      api: through,
      clusterId,
      onVersion: (version) => versions.push(version),
      onReadable: (isReadable) => readable.push(isReadable),
      now: () => new Date(),
    });
    watches.push(one);
    await one.start();
    return { freeze: one, versions, readable };
  }
  /** What one worker records: of a log of its own, as each pod has. */
  function recorder(events: AuditEvent[]) {
    const audit = { append: (event: AuditEvent) => Promise.resolve(events.push(event)) };
    const onTrouble = (error: unknown) => {
      throw error;
    };
    return new FreezeRecords({ clusterId, records: createStateRecords(api), audit, sha256, onTrouble });
  }

  describe('that is watched', () => {
    it('is told in each of its versions, with who wrote it', async () => {
      await set(false);
      const { versions } = await watch();
      for (let round = 0; round < 5; round++) await set(round % 2 === 0, `reason ${round}`);
      await until('all versions', () => versions.length === 6);
      expect(versions.map(({ isFrozen, reason, by }) => `${isFrozen} ${reason} ${by}`)).toEqual([
        ...['false  alice', 'true reason 0 alice', 'false reason 1 alice', 'true reason 2 alice'],
        ...['false reason 3 alice', 'true reason 4 alice'],
      ]);
    });

    it('halts what is under way as long as it is on, and not what comes after', async () => {
      await set(false);
      const { freeze } = await watch();
      const { halt } = freeze;
      await set(true, 'leak');
      await until('the halt', () => halt.aborted);
      expect(freeze.state()).toMatchObject({ state: 'frozen', how: 'set', reason: 'leak', by: 'alice' });
      await set(false);
      await until('it to be open', () => freeze.state().state === 'open');
      expect(freeze.halt.aborted).toBe(false);
    });

    it('is on when it is taken away, and when it was never there', async () => {
      const never = await watch();
      expect(never.freeze.state()).toMatchObject({ state: 'frozen', how: 'missing' });
      await set(false);
      const { freeze } = await watch();
      expect(freeze.state()).toEqual({ state: 'open' });
      await remove();
      await until('it to be on', () => freeze.state().state === 'frozen');
      expect(freeze.state()).toMatchObject({ how: 'missing' });
    });

    it('is read again where the watch says nothing', async () => {
      await set(false);
      const silent: Pick<KubeApi, 'get' | 'watch'> = {
        get: api.get,
        async *watch(_path, _options, signal) {
          await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));
          yield* [];
        },
      };
      const { freeze } = await watch(silent);
      freeze.isBusy = true;
      await set(true);
      await until('it to be on', () => freeze.state().state === 'frozen', 2_000);
    });

    it('is not known when it was not read for two seconds, and is on all the same where it was on', async () => {
      await set(false);
      let isCut = false;
      const cut: Pick<KubeApi, 'get' | 'watch'> = {
        get: (...args) => (isCut ? Promise.reject(new Error('cut off')) : api.get(...args)),
        watch: api.watch,
      };
      const { freeze, readable } = await watch(cut);
      freeze.isBusy = true;
      isCut = true;
      await until('it not to be known', () => freeze.state().state === 'unknown', 5_000);
      expect(readable).toEqual([false]);
      await set(true);
      await until('the watch to bring it', () => freeze.state().state === 'frozen');
    });

    it('is watched on after a watch that is too old to go on', async () => {
      await set(false);
      const asked: (string | undefined)[] = [];
      const tooOld: Pick<KubeApi, 'get' | 'watch'> = {
        get: api.get,
        watch(path, options, signal) {
          asked.push(options.resourceVersion);
          // As the API server says it when etcd has compacted the version, which it does every five minutes.
          if (asked.length === 1) throw new ApiStatusError(410, '{"kind":"Status","reason":"Expired"}', path);
          return api.watch(path, options, signal);
        },
      };
      const { freeze } = await watch(tooOld);
      await until('the second watch', () => asked.length === 2);
      expect(asked[1]).toBeUndefined();
      await set(true);
      await until('the watch to bring it', () => freeze.state().state === 'frozen');
    });
  });

  describe('that is recorded', () => {
    const version = (isFrozen: boolean, resourceVersion: string): FreezeVersion => ({
      ...{ isFrozen, how: 'set', reason: 'leak', by: 'alice', resourceVersion },
    });

    it('is made on the first installation, and never again', async () => {
      await recorder([]).install();
      expect(await read()).toMatchObject({ frozen: 'false' });
      await remove();
      await recorder([]).install();
      expect(await read()).toBeUndefined();
    });

    it('is the same event for each worker that sees it, and none for one that sees it later', async () => {
      const [first, second, late]: AuditEvent[][] = [[], [], []];
      const workers = [recorder(first ?? []), recorder(second ?? [])];
      await workers[0]?.install();
      workers.forEach((one) => one.take(version(true, '100')));
      await until('both to have seen it', () => (first ?? []).length + (second ?? []).length > 0);
      await Promise.all(workers.map((one) => one.close()));
      expect(new Set([...(first ?? []), ...(second ?? [])].map(({ eventId }) => eventId)).size).toBe(1);
      expect(first?.[0] ?? second?.[0]).toMatchObject({
        ...{ type: 'freeze.set', actor: { id: 'alice', proof: 'asserted' } },
        detail: { cluster: clusterId, how: 'set', change: 1, reason: 'leak' },
      });

      const next = recorder([]);
      next.take(version(false, '110'));
      await until('the change', async () => {
        const record = await createStateRecords(api).read(`byoc-freeze-audit-${clusterId}`);
        return record?.['state'] === 'open';
      });
      const slow = recorder(late ?? []);
      slow.take(version(true, '100'));
      slow.take(version(false, '110'));
      await Promise.all([next.close(), slow.close()]);
      expect(late).toEqual([]);
    });

    it('is recorded by the next worker where none ran', async () => {
      const events: AuditEvent[] = [];
      await recorder([]).install();
      await set(true, 'while nobody looked');
      const one = recorder(events);
      await one.install();
      const { versions } = await watch();
      versions.forEach((each) => one.take(each));
      await until('the event', () => events.length === 1);
      await one.close();
      expect(events).toMatchObject([{ type: 'freeze.set', detail: { reason: 'while nobody looked' } }]);
    });
  });
});
