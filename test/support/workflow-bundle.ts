import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { sharedFolder } from './stack.ts';

const BUNDLE = join(import.meta.dirname, 'bundle-workflows.ts');

/** The file with the workflows. They are bundled once a run; otherwise each worker would take seconds for it. */
export async function workflowBundle({ encrypted = false } = {}): Promise<string> {
  const file = join(sharedFolder(), encrypted ? 'workflows-encrypted.js' : 'workflows.js');
  const args = [BUNDLE, file, ...(encrypted ? ['encrypted'] : [])];
  if (!existsSync(file)) await promisify(execFile)(process.execPath, args);
  return file;
}
