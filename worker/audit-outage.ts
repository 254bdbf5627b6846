import type { UploadResult } from '../activities/audit/upload.ts';
import type { DetailOf } from '../domain/audit-catalogue.ts';
import { ConnectorError } from '../domain/errors.ts';

/** Remembers since when nothing could be uploaded, so that it is told once, and not at the first hiccup. */
export class UploadOutage {
  readonly #alertAfterMs: number;
  #since: number | undefined;
  #code = '';
  #told = false;

  constructor(alertAfterMs: number) {
    this.#alertAfterMs = alertAfterMs;
  }

  over(): void {
    this.#since = undefined;
    this.#told = false;
  }

  /** Since when it lasts, and what is wrong; undefined while nothing is. */
  get current(): { readonly failingSince: string; readonly code: string } | undefined {
    return this.#since === undefined
      ? undefined
      : { failingSince: new Date(this.#since).toISOString(), code: this.#code };
  }

  /** @returns what is to be told, the first time after it has lasted too long */
  failed(error: unknown, waiting: number, now = Date.now()): DetailOf<'audit.upload-late'> | undefined {
    this.#since ??= now;
    this.#code = error instanceof ConnectorError ? error.code : 'INTERNAL';
    if (this.#told || now - this.#since < this.#alertAfterMs) return undefined;
    this.#told = true;
    return { since: new Date(this.#since).toISOString(), code: this.#code, waiting };
  }
}

/** What an upload leaves in the log: ids are of what was uploaded, so that it is told once. */
export function describeUpload(chain: string, { objects, uploaded, manifests }: UploadResult) {
  const last = { seq: uploaded.seq, hash: uploaded.hash };
  return [
    ...(objects.length > 0
      ? [{ type: 'audit.uploaded', eventId: `audit.uploaded/${chain}/${last.seq}`, detail: { objects, last } } as const]
      : []),
    ...manifests.map(({ key, manifest: { day, entries, first, last: end } }) => {
      const detail = { day, key, entries, first, last: end };
      return { type: 'audit.day-sealed', eventId: `audit.day-sealed/${chain}/${day}`, detail } as const;
    }),
  ];
}
