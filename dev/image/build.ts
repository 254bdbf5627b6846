/**
 * `node dev/image/build.ts FOLDER`: carries out the steps of the Containerfile into a new folder, as root, and prints what became of it.
 * The digest is over all files of the image with their names, modes and times: the same commit gives the same one.
 */
import { readdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { devSettings } from '../settings.ts';
import { onlyArgument, runCommand, UsageError, warnOfChanges } from './command.ts';
import { describeCommit } from './commit.ts';
import { buildIntoFolder } from './folder-build.ts';
import { canIsolate } from './sandbox.ts';
import { treeDigest } from './tree-digest.ts';

await runCommand('dev/image/build.ts', async (args) => {
  const folder = resolve(onlyArgument(args, 'npx node dev/image/build.ts FOLDER, a new or empty one'));
  if (!canIsolate())
    throw new UsageError('must run as root on Linux, with unshare and setpriv (util-linux), to make mounts.');
  // What it makes in there it also clears away first.
  const inside = await readdir(folder).catch(() => []);
  if (inside.length > 0) throw new UsageError(`${folder} is not empty; name a new folder.`);
  const commit = await describeCommit();
  warnOfChanges(commit);
  const { version, revision, epoch, tags } = commit;
  const image = await buildIntoFolder({
    folder,
    args: { VERSION: version, REVISION: revision, SOURCE_DATE_EPOCH: String(epoch) },
    cacheDir: devSettings(process.env).cacheDir,
    onStep: (step) => console.error(step),
  });
  console.log(JSON.stringify({ tags, ...image, digest: await treeDigest(join(image.root, 'app')) }, null, 2));
});
