import { createHash } from 'node:crypto';
import { lstat, readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';

/** SHA-256 over all files below a folder: their paths, modes, owners, times in seconds, and contents. */
export async function treeDigest(folder: string): Promise<string> {
  const hash = createHash('sha256');
  const names = (await readdir(folder, { recursive: true })).sort();
  for (const name of names) {
    const path = join(folder, name);
    const stat = await lstat(path);
    hash.update(`${name}\0${stat.mode.toString(8)}\0${stat.uid}:${stat.gid}\0${Math.floor(stat.mtimeMs / 1000)}\0`);
    if (stat.isSymbolicLink()) hash.update(await readlink(path));
    else if (stat.isFile())
      hash.update(
        createHash('sha256')
          .update(await readFile(path))
          .digest(),
      );
  }
  return `sha256:${hash.digest('hex')}`;
}
