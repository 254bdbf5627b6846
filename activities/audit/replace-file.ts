import { open, rename } from 'node:fs/promises';
import { join } from 'node:path';

import { syncFolder } from './day-file.ts';

/** Replaces a small file as a whole, durably: after a crash there is the old one or the new one. */
export async function replaceFile(folder: string, name: string, text: string): Promise<void> {
  const temporary = join(folder, `${name}.new`);
  const handle = await open(temporary, 'w', 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(temporary, join(folder, name));
  await syncFolder(folder);
}
