import { readFile } from 'node:fs/promises';
import { send } from '../../dev/servers/https.ts';
import type { VaultService } from '../../dev/servers/openbao.ts';

/** Calls Vault's API as its administrator; the answer's JSON, or undefined where there is none. */
export async function callVault(
  { address, caFile, token }: Pick<VaultService, 'address' | 'caFile' | 'token'>,
  method: 'GET' | 'POST' | 'DELETE',
  path: string,
  body?: unknown,
): Promise<unknown> {
  const options = { ca: await readFile(caFile, 'utf8'), token };
  const content = body === undefined ? undefined : JSON.stringify(body);
  const { ok, status, text } = await send(method, `${address}/v1/${path}`, options, content);
  if (!ok) throw new Error(`${method} ${path}: ${status} ${text}`);
  return text === '' ? undefined : JSON.parse(text);
}
