import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { FolderImage } from '../../dev/image/folder-build.ts';
import { buildIntoFolder } from '../../dev/image/folder-build.ts';
import { launchContainer } from '../../dev/image/run.ts';
import { withLock } from '../../dev/lock.ts';
import { devSettings } from '../../dev/settings.ts';
import { sharedFolder } from './stack.ts';

/** For `beforeAll`: the build takes a minute, and several where `npm ci` has to get everything. */
export const BUILD_TIMEOUT_MS = 600_000;

/** The commit's time, as the image is told it. */
export const EPOCH = 1_790_000_000;

export const BUILD_ARGS = { VERSION: '0.1.0', REVISION: 'f00d', SOURCE_DATE_EPOCH: String(EPOCH) } as const;

/** The image as a folder, built once a run: whoever wants it while it is built waits. Nobody may change it. */
export async function folderImage(): Promise<FolderImage> {
  const folder = join(sharedFolder(), 'image');
  const built = `${folder}.json`;
  await withLock(`${folder}.lock`, async () => {
    if (existsSync(built)) return;
    const image = await buildIntoFolder({ folder, args: BUILD_ARGS, cacheDir: devSettings(process.env).cacheDir });
    // Makes the places at which the base is mounted, which several at a time would make at once.
    await launchContainer({ image, args: [], env: {}, mounts: [] });
    await writeFile(built, JSON.stringify(image));
  });
  return JSON.parse(await readFile(built, 'utf8')) as FolderImage; // as it was written
}
