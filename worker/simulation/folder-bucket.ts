import { createReadStream } from 'node:fs';
import { mkdir, readdir, stat, writeFile } from 'node:fs/promises';
import { dirname, join, relative, sep } from 'node:path';
import type { Bucket } from '../../activities/s3/bucket.ts';
import { ConnectorError } from '../../domain/errors.ts';

/** A folder in the place of a bucket: the same objects under the same names, and nothing that keeps them there. */
export function openFolderBucket(folder: string): Bucket {
  const pathOf = (key: string) => join(folder, ...key.split('/'));
  return {
    name: `simulated:${folder}`,
    hasObjectLock: () => Promise.resolve(false),

    async putOnce(key, body) {
      const path = pathOf(key);
      try {
        await mkdir(dirname(path), { recursive: true });
        await writeFile(path, body, { flag: 'wx' });
        return {};
      } catch (cause) {
        if (isCode(cause, 'EEXIST')) return 'exists';
        throw refused(key, cause);
      }
    },

    async *read(key) {
      try {
        yield* createReadStream(pathOf(key)) as AsyncIterable<Uint8Array>;
      } catch (cause) {
        throw refused(key, cause);
      }
    },

    async *versions(prefix) {
      const files = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
      const keys = files
        .filter((file) => file.isFile())
        .map((file) => relative(folder, join(file.parentPath, file.name)).split(sep).join('/'));
      for (const key of keys.filter((one) => one.startsWith(prefix)).sort()) {
        yield { key, versionId: '', deleteMarker: false, modified: (await stat(pathOf(key))).mtime };
      }
    },

    retentionOf: () => Promise.resolve(undefined),
    close: () => undefined,
  };
}

function refused(key: string, cause: unknown): ConnectorError {
  return new ConnectorError('S3_UNAVAILABLE', `The simulated bucket refuses ${key}.`, { cause });
}

function isCode(error: unknown, code: string): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === code;
}
