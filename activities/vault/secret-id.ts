import { open } from 'node:fs/promises';
import { VaultRequestError, member } from './requests.ts';
import type { VaultRequests } from './requests.ts';

export interface SecretIdOptions {
  readonly source: { readonly value: string } | { readonly file: string };
  /**
   * Where the source holds a wrapping token instead: the path at which it must have been made, such as
   * `auth/approle/role/byoc-prod-eu-1-execution/secret-id`. One made elsewhere was put there by somebody else.
   */
  readonly wrappedAt?: string;
  readonly requests: Pick<VaultRequests, 'post'>;
}

/** Gives the secret_id as it is now: a file is read each time, a wrapping token is unwrapped once. */
export type SecretId = () => Promise<string>;

/** What AppRole needs is far below. */
const MAX_BYTES = 4_096;

/** @returns a function that throws {@link VaultRequestError}, without the secret */
export function secretIdOf({ source, wrappedAt, requests }: SecretIdOptions): SecretId {
  const read = () => ('value' in source ? Promise.resolve(source.value) : readSecret(source.file));
  if (wrappedAt === undefined) return read;

  let seen: { readonly wrapping: string; readonly outcome: Promise<string> } | undefined;
  return async () => {
    const wrapping = await read();
    if (seen?.wrapping !== wrapping) {
      const outcome = unwrap(wrapping, wrappedAt, requests);
      seen = { wrapping, outcome };
      // One that Vault refused never becomes good; where Vault did not answer, it is still to be used.
      outcome.catch((error: unknown) => {
        if (!(error instanceof VaultRequestError && error.isRefusal)) seen = undefined;
      });
    }
    return seen.outcome;
  };
}

async function readSecret(path: string): Promise<string> {
  try {
    const file = await open(path);
    try {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(MAX_BYTES + 1));
      const text = buffer.toString('utf8', 0, bytesRead).trim();
      if (text !== '' && bytesRead <= MAX_BYTES) return text;
    } finally {
      await file.close();
    }
  } catch {
    // Said below; the system's own words would tell paths.
  }
  throw new VaultRequestError(undefined, 'the file with the secret_id cannot be read, or holds none');
}

async function unwrap(wrapping: string, wrappedAt: string, requests: Pick<VaultRequests, 'post'>): Promise<string> {
  const found = await asked(() => requests.post('sys/wrapping/lookup', { token: wrapping }));
  if (member(member(found, 'data'), 'creation_path') !== wrappedAt) {
    throw new VaultRequestError(400, 'the wrapping token was made somewhere else than it should, so it is not used');
  }
  const answer = await asked(() => requests.post('sys/wrapping/unwrap', {}, wrapping));
  const secretId = member(member(answer, 'data'), 'secret_id');
  if (typeof secretId === 'string' && secretId !== '') return secretId;
  throw new VaultRequestError(400, 'what was wrapped is no secret_id');
}

async function asked(ask: () => Promise<unknown>): Promise<unknown> {
  try {
    return await ask();
  } catch (error) {
    if (!(error instanceof VaultRequestError && error.isRefusal)) throw error;
    const text = 'the wrapping token was used already or has expired; if nobody here used it, somebody else did';
    throw new VaultRequestError(error.status, text);
  }
}
