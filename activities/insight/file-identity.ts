import { readFile } from 'node:fs/promises';
import { ConnectorError } from '../../domain/errors.ts';
import type { Identity } from './client.ts';

/** A token that something else keeps fresh in a file, as Vault Agent does; read each time. */
export function fileIdentity(path: string): Identity {
  return {
    async token() {
      const text = await readFile(path, 'utf8').catch(() => '');
      if (text.trim() !== '') return text.trim();
      throw new ConnectorError('VAULT_UNAVAILABLE', 'The file of the token is empty or cannot be read.');
    },
  };
}
