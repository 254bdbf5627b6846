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
  let looking: Promise<void> | undefined;

  async function look(path: string): Promise<void> {
    const ca = await readAuthorities(path);
    // A file that is just being written leaves what was: it is looked at again.
    if (ca === undefined || ca === known) return;
    const before = agent;
    [agent, known] = [new Agent({ connect: { ca } }), ca];
    void before?.close(); // What is on its way comes to its end.
  }

  return {
    async current() {
      if (caFile !== undefined && (!agent || performance.now() - lookedAt >= LOOK_EVERY_MS)) {
        lookedAt = performance.now();
        looking ??= look(caFile).finally(() => (looking = undefined));
      }
      await looking; // Also by those who come while somebody looks.
      if (agent) return agent;
      const text = 'the file with the certificate authorities cannot be read';
      throw Object.assign(new Error(text), { code: 'CA_UNREADABLE' });
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
