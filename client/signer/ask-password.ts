import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import { ConnectorError } from '../../domain/errors.ts';

/**
 * Asks for a password on the terminal, without showing what is typed.
 * @throws {ConnectorError} CONFIG_INVALID where there is no terminal
 */
export async function askPassword(prompt: string): Promise<string> {
  const { stdin, stderr } = process;
  if (!stdin.isTTY) {
    throw new ConnectorError('CONFIG_INVALID', 'The private key is encrypted, and COSIGN_PASSWORD is not set.');
  }
  stderr.write(prompt);
  // Given nothing to write to, readline edits the line as ever and echoes none of it.
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const terminal = createInterface({ input: stdin, output: nowhere, terminal: true });
  try {
    return await new Promise<string>((resolve, reject) => {
      // A terminal that readline reads makes a key of ^C; whoever listens for the signal gets it all the same.
      terminal.once('SIGINT', () => process.kill(process.pid, 'SIGINT'));
      terminal.once('close', () => reject(new ConnectorError('USAGE', 'No password was given.')));
      terminal.question('', resolve);
    });
  } finally {
    terminal.close();
    stderr.write('\n');
  }
}
