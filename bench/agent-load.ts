/** The load of `npm run bench -- agent`, in a process of its own that reads what to do from a file: sends packages until its input ends, then says what came back. */
import { readFile } from 'node:fs/promises';
import { Agent, request } from 'undici';

export interface Load {
  readonly url: string;
  readonly token: string;
  readonly bodies: readonly string[];
  /** As fast as answers come where it is left out. */
  readonly perSecond?: number;
  readonly connections: number;
}

export interface LoadResult {
  readonly byStatus: Readonly<Record<string, number>>;
  readonly perSecond: number;
}

const { url, token, bodies, perSecond, connections } = JSON.parse(
  await readFile(process.argv[2] ?? '', 'utf8'),
) as Load;
const dispatcher = new Agent({ connections });
const headers = { 'content-type': 'application/json', authorization: `Bearer ${token}` };
const byStatus: Record<string, number> = {};
let isOver = false;
let sent = 0;

async function sendOne(): Promise<void> {
  const body = bodies[sent++ % bodies.length] ?? '';
  const status = await request(`${url}/execute`, { dispatcher, method: 'POST', headers, body }).then(
    async (answer) => {
      await answer.body.dump();
      return String(answer.statusCode);
    },
    () => 'cut off',
  );
  byStatus[status] = (byStatus[status] ?? 0) + 1;
}

process.stdin.resume().on('end', () => (isOver = true));
const startedAt = performance.now();
const senders = Array.from({ length: connections }, async (_, index) => {
  while (!isOver) {
    const dueMs = perSecond === undefined ? 0 : startedAt + (sent / perSecond) * 1000 - performance.now();
    if (dueMs > 0) await new Promise((resolve) => setTimeout(resolve, dueMs + index));
    await sendOne();
  }
});
await Promise.all(senders);
const seconds = (performance.now() - startedAt) / 1000;
const result: LoadResult = { byStatus, perSecond: Math.round(sent / seconds) };
process.stdout.write(JSON.stringify(result));
await dispatcher.close();
