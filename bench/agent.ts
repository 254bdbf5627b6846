import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { Agent, request } from 'undici';
import { prepareConnector, startWorker } from '../dev/connector.ts';
import { buildWpk, applyStep, configMap, sign } from '../test/support/packages.ts';
import { TokenIssuer } from '../test/support/token-issuer.ts';
import type { Load, LoadResult } from './agent-load.ts';
import type { BenchContext } from './compare.ts';
import { percentile, summarise } from './statistics.ts';
import type { Deadline } from './table.ts';

const CLUSTER = 'bench-agent';
const ALLOWED_PER_SECOND = 5;
const TARGET_MS = 10;
/** Between two looks at the health, ms. */
const EVERY_MS = 5;
const BODY_BYTES = 16_000;

/** What a reader of the table must know to believe it. */
export const AGENT_NOTES: readonly string[] = [
  `One caller with a good token may send ${ALLOWED_PER_SECOND} packages a second; the load is a process of its own and sends packages of 16 kB.`,
  'The health is asked on one connection every 5 ms, by a third process; all share the cores with the servers of the stack.',
  'In turns with it a bare Node server is asked, a process of its own that does nothing else: what it takes is the machine.',
];

const BARE_SERVER = `require('http').createServer((_, answer) => answer.end('{}'))
  .listen(0, '127.0.0.1', function () { console.log(this.address().port) })`;

/** Times `GET /health` while far more is sent to `POST /execute` than is allowed. */
export async function benchAgent({ stack, rounds, onProgress }: BenchContext): Promise<Deadline[]> {
  const folder = join(stack.stateDir, CLUSTER);
  const issuer = await TokenIssuer.create();
  const env = {
    S3_BUCKET: '',
    BYOC_AGENT_PORT: '0',
    BYOC_AGENT_RATE: String(ALLOWED_PER_SECOND * 60),
    BYOC_AGENT_JWT_ISSUER: issuer.issuer,
    BYOC_AGENT_JWT_KEYS: join(folder, 'jwks.json'),
  };
  const prepared = await prepareConnector({ services: stack, folder, clusterId: CLUSTER, env });
  await writeFile(env.BYOC_AGENT_JWT_KEYS, await issuer.jwks());
  const worker = await startWorker(prepared);
  const bare = spawn(process.execPath, ['-e', BARE_SERVER], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    const [barePort] = (await once(bare.stdout, 'data')) as [Buffer];
    const bareUrl = `http://127.0.0.1:${barePort.toString().trim()}`;
    const url = `http://127.0.0.1:${await portIn(join(folder, 'worker.log'))}`;
    const token = await issuer.token(`byoc/${CLUSTER}`);
    const bodies = Array.from({ length: 500 }, (_, index) => {
      const step = applyStep(configMap(`bench-${index}`, 'default', { text: 'x'.repeat(BODY_BYTES * 0.7) }));
      const wpk = buildWpk({ clusterId: CLUSTER, namespaces: ['default'], steps: [step] });
      return JSON.stringify(sign(wpk, prepared.privateKeyPem));
    });
    const flood = { url, token, bodies, connections: 16 };
    const found: Deadline[] = [];
    const measure = async (what: string, given: Load | undefined) => {
      onProgress(`agent: ${what}`);
      const { samplesMs, bareMs, result } = await under(given, folder, () => askHealth(url, bareUrl, rounds));
      const control = `${what}: the bare server took ${percentile(bareMs, 50).toFixed(1)} ms, p99 ${percentile(bareMs, 99).toFixed(1)} ms`;
      const answers = Object.entries(result?.byStatus ?? {}).map(([status, count]) => `${status}: ${count}`);
      const load = result ? `; ${result.perSecond} calls a second, answered ${answers.join(', ')}` : '';
      const facts = [`${control}${load}.`];
      found.push({
        what: `GET /health, ${what}`,
        times: summarise(samplesMs),
        targetMs: TARGET_MS,
        facts,
      });
    };
    await askHealth(url, bareUrl, 100);
    await measure('nothing else', undefined);
    await measure('10 times the allowed load', { ...flood, perSecond: ALLOWED_PER_SECOND * 10 });
    await measure('good tokens, as fast as they are refused', flood);
    await measure('bad tokens, as fast as they are refused', { ...flood, token: 'a.b.c' });
    return found;
  } finally {
    bare.kill();
    await worker.stop();
  }
}

interface Asked {
  readonly samplesMs: number[];
  readonly bareMs: number[];
}

async function under(load: Load | undefined, folder: string, work: () => Promise<Asked>) {
  if (!load) return { ...(await work()), result: undefined };
  const file = join(folder, 'load.json');
  await writeFile(file, JSON.stringify(load));
  const sender = spawn(process.execPath, [join(import.meta.dirname, 'agent-load.ts'), file], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const said = text(sender.stdout);
  await sleep(3_000); // what may be sent in a burst is used up
  try {
    const asked = await work();
    sender.stdin.end();
    return { ...asked, result: JSON.parse(await said) as LoadResult };
  } finally {
    sender.stdin.end();
  }
}

async function askHealth(url: string, bareUrl: string, rounds: number): Promise<Asked> {
  const dispatcher = new Agent({ connections: 1 });
  const timed = async (what: string) => {
    const startedAt = performance.now();
    const { statusCode, body } = await request(what, { dispatcher });
    await body.dump();
    if (statusCode !== 200) throw new Error(`${what} answered ${statusCode}`);
    return performance.now() - startedAt;
  };
  const asked: Asked = { samplesMs: [], bareMs: [] };
  for (let round = 0; round < rounds; round++) {
    asked.samplesMs.push(await timed(`${url}/health`));
    asked.bareMs.push(await timed(bareUrl));
    await sleep(EVERY_MS);
  }
  await dispatcher.close();
  return asked;
}

async function portIn(logFile: string): Promise<number> {
  const lines = (await readFile(logFile, 'utf8')).split('\n').filter((line) => line.includes('the agent listens'));
  return (JSON.parse(lines.at(-1) ?? '{}') as { port: number }).port;
}
