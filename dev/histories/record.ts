/**
 * `npx node dev/histories/record.ts [NAME…]`: records real runs of every workflow in test/histories, under the version that
 * this checkout has. A history that is there is never recorded again: runs that began under it must go on under every
 * later version. Names choose among the runs of runs.ts; all of them where none is given.
 */
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import protos from '@temporalio/proto';
import { VERSION } from '../../domain/names.ts';
import { TestConnector } from '../../test/support/connector.ts';
import { SHARED_STACK } from '../../test/support/stack.ts';
import { startStack } from '../stack.ts';
import type { Stage } from './runs.ts';
import { RUNS } from './runs.ts';

const { History } = protos.temporal.api.history.v1;
const FOLDER = join(import.meta.dirname, '../../test/histories');
const fileOf = (name: string) => {
  const [workflow, ...what] = name.split('-');
  return join(FOLDER, `${workflow}-${VERSION}-${what.join('-')}.json`);
};

const names = process.argv.slice(2);
const wanted = Object.entries(RUNS).filter(([name]) => names.length === 0 || names.includes(name));
const missing = wanted.filter(([name]) => !existsSync(fileOf(name)));
for (const [name] of wanted) if (existsSync(fileOf(name))) process.stdout.write(`${name}: is there already\n`);

if (missing.length > 0) {
  const folder = await mkdtemp(join(tmpdir(), 'byoc-histories-'));
  const stateDir = join(folder, 'stack');
  const services = ['temporal', 'vault', 's3', 'kubernetes', 'controlPlane', 'prometheus'] as const;
  const stack = await startStack({ stateDir, env: process.env, services });
  process.env[SHARED_STACK] = stateDir;
  try {
    const { address, ca, username, password } = stack.prometheus;
    const connector = await TestConnector.start({
      services: stack,
      linked: true,
      files: { 'prom-ca.pem': ca },
      env: {
        PROM_URL: address,
        PROM_USERNAME: username,
        PROM_PASSWORD: password,
        BYOC_PROM_CA: 'prom-ca.pem',
        INSIGHT_URL: stack.controlPlane.url,
        BYOC_INSIGHT_CA: stack.controlPlane.caFile,
      },
    });
    for (const [name, run] of missing) {
      try {
        await save({ connector, stack }, name, await run({ connector, stack }));
        process.stdout.write(`${name}: recorded\n`);
      } catch (error) {
        process.stderr.write(`${name}: ${String(error)}\n`);
        process.exitCode = 1;
      }
    }
    await connector.stop();
  } finally {
    await stack.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

async function save({ connector }: Stage, name: string, run: { workflowId: string; runId?: string }): Promise<void> {
  const { workflowId, runId } = run;
  const history = await connector.client.client.workflow.getHandle(workflowId, runId).fetchHistory();
  const asObject = History.toObject(History.fromObject(history), { longs: String, enums: String, bytes: String });
  // Workers and sticky queues are named after machine and process, which are nobody's business.
  const text = JSON.stringify({ workflowId, history: asObject }, undefined, 1)
    .replaceAll(hostname(), 'worker')
    .replaceAll(/\d+@worker/g, '1@worker');
  await writeFile(fileOf(name), `${text}\n`);
}
