import { glob, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from '@jest/globals';
import type { AlertType } from '../../domain/alerts.ts';
import { describeOnSmallDisk, SmallDisk } from '../support/small-disk.ts';
import { ownStack } from '../support/stack.ts';
import { until } from '../support/until.ts';
import { WatchedConnector } from '../support/watched-connector.ts';

// R24, R25

const isAbout = (wanted: AlertType) => (alert: { readonly type: string }) => alert.type === wanted;

/** The audit log on the disk, as it is. */
async function entries({ path }: SmallDisk): Promise<string> {
  const texts: string[] = [];
  for await (const file of glob(join(path, 'audit', '*', '*.jsonl'))) texts.push(await readFile(file, 'utf8'));
  return texts.join('');
}

describeOnSmallDisk('a disk that is almost full', () => {
  it('is down in health and an alert before a package finds it out, and is well again when there is room', async () => {
    const disk = new SmallDisk(8 * 1024);
    const stack = await ownStack(['temporal', 'vault', 's3', 'kubernetes', 'controlPlane']);
    const watched = await WatchedConnector.start(stack, { env: { BYOC_DATA_DIR: disk.path } });
    try {
      const filler = join(disk.path, 'filler');
      await writeFile(filler, Buffer.alloc(5 * 1024 * 1024));
      expect(await watched.untilPart('disk', 'down')).toMatchObject({ sentence: expect.stringContaining('no room') });
      expect(await watched.health()).toMatchObject({ status: 'degraded', ready: true });
      await until('the alert of it', async () => (await watched.alerts()).some(isAbout('part-unhealthy')), 60_000);
      expect(await watched.metric('byoc_alerts_total{type="part-unhealthy"}')).toBe(1);
      expect(await entries(disk)).toContain('"detail":{"part":"disk","state":"down"}');

      // To the last byte: then nothing can be recorded either.
      const rest = join(disk.path, 'rest');
      await writeFile(rest, Buffer.alloc(4 * 1024 * 1024)).catch(() => undefined);
      await watched.connector.submit();
      expect(await watched.untilPart('audit-log', 'down')).toMatchObject({ code: 'AUDIT_UNAVAILABLE' });
      expect(await watched.health()).toMatchObject({ status: 'down', ready: false });
      await until('the alert of that', async () => (await watched.alerts()).some(isAbout('audit-unavailable')), 60_000);

      await rm(rest);
      await rm(filler);
      const since = Date.now();
      await watched.untilPart('disk', 'ok');
      await watched.untilPart('audit-log', 'ok', 90_000);
      console.log(`the disk was found to have room after ${((Date.now() - since) / 1_000).toFixed(1)} s`);
    } finally {
      await watched.connector.stop();
      await stack.stop();
      disk.unmount();
    }
  }, 300_000);
});
