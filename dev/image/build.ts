/**
 * `node dev/image/build.ts FOLDER`: carries out the steps of the Containerfile into a folder, as root, and prints what became of it.
 * The digest is over all files of the image with their names, modes and times: the same commit gives the same one.
 */
import { join } from 'node:path';
import { devSettings } from '../settings.ts';
import { describeCommit } from './commit.ts';
import { buildIntoFolder } from './folder-build.ts';
import { canIsolate } from './sandbox.ts';
import { treeDigest } from './tree-digest.ts';

const folder = process.argv[2];
if (folder === undefined || !canIsolate()) {
  console.error('usage: node dev/image/build.ts FOLDER, as root on Linux with unshare and setpriv (util-linux)');
  process.exit(2);
}
const { version, revision, epoch } = await describeCommit();
const image = await buildIntoFolder({
  folder,
  args: { VERSION: version, REVISION: revision, SOURCE_DATE_EPOCH: String(epoch) },
  cacheDir: devSettings(process.env).cacheDir,
  onStep: (step) => console.error(step),
});
console.log(JSON.stringify({ ...image, digest: await treeDigest(join(image.root, 'app')) }, null, 2));
