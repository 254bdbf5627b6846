import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { Agent } from 'undici';

/** Connections that verify the server; they follow the file of the certificate authorities when that one changes. */
export interface VerifyingAgent {
  /**
   * To be asked for before each request.
   * @throws {Error} with the code `CA_UNREADABLE` where the file cannot be read and never could
   */
  current(): Promise<Agent>;
  close(): Promise<void>;
}

/** How often the file is looked at, at most. */
const LOOK_EVERY_MS = 1_000;

/** @param caFile authorities in PEM that replace the built-in ones; the built-in ones where it is left out */
export function verifyingAgent(caFile: string | undefined): VerifyingAgent {
  let agent = caFile === undefined ? new Agent() : undefined;
  let known: string | undefined;
  let lookedAt = -Infinity;
  return {
    async current() {
      if (caFile !== undefined && performance.now() - lookedAt >= LOOK_EVERY_MS) {
        lookedAt = performance.now();
        const ca = await readAuthorities(caFile);
        // A file that is just being written leaves what was: it is looked at again.
        if (ca !== undefined && ca !== known) {
          const before = agent;
          [agent, known] = [new Agent({ connect: { ca } }), ca];
          void before?.close(); // What is on its way comes to its end.
        }
      }
      if (agent) return agent;
      lookedAt = -Infinity;
      throw Object.assign(new Error('the file with the certificate authorities cannot be read'), {
        code: 'CA_UNREADABLE',
      });
    },
    async close() {
      await agent?.close();
    },
  };
}

async function readAuthorities(path: string): Promise<string | undefined> {
  try {
    const pem = await readFile(path, 'utf8');
    new X509Certificate(pem); // OpenSSL would take a file without any certificate for "trust nobody".
    return pem;
  } catch {
    return undefined;
  }
}
