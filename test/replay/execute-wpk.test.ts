import { readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import protos from '@temporalio/proto';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { DeterminismViolationError } from '@temporalio/workflow';
import { dataConverter } from '../../client/data-converter/index.ts';
import { workflowBundle } from '../support/workflow-bundle.ts';

const { History } = protos.temporal.api.history.v1;
const FOLDER = join(import.meta.dirname, '../histories');

// What Temporal has to say about a run that does not fit is the point of a test here, and no news.
Runtime.install({
  logger: new DefaultLogger('ERROR'),
  telemetryOptions: { logging: { filter: { core: 'ERROR', other: 'ERROR' } } },
});

interface SavedRun {
  readonly workflowId: string;
  readonly history: { readonly events: readonly Record<string, unknown>[] };
}

async function savedRun(file: string): Promise<SavedRun> {
  return JSON.parse(await readFile(join(FOLDER, file), 'utf8')) as SavedRun; // written by record-histories.ts
}

async function replay({ workflowId, history }: SavedRun): Promise<void> {
  const codePath = await workflowBundle();
  // Longs as texts are what tells Temporal's own JSON form, in which the files are not: it is read here.
  await Worker.runReplayHistory(
    { workflowBundle: { codePath }, dataConverter },
    History.fromObject(history),
    workflowId,
  );
}

/** Runs that began under an older version must go on under this one. */
describe('the history of a run', () => {
  it.each(readdirSync(FOLDER))('%s is carried on by the workflow as it is now', async (file) => {
    await expect(replay(await savedRun(file))).resolves.toBeUndefined();
  });

  it.each(readdirSync(FOLDER))('%s tells no path of the machine that it ran on', async (file) => {
    expect(await readFile(join(FOLDER, file), 'utf8')).not.toMatch(/\(\/|node_modules|\.[jt]s:\d/);
  });

  it('that calls another activity than the workflow does is found out', async () => {
    const run = await savedRun('executeWpk-v1-succeeded.json');
    const scheduled = 'activityTaskScheduledEventAttributes';
    const events = run.history.events.map((event) => {
      return scheduled in event
        ? { ...event, [scheduled]: { ...(event[scheduled] as object), activityType: { name: 'other' } } }
        : event;
    });
    expect(events).not.toEqual(run.history.events);
    await expect(replay({ ...run, history: { events } })).rejects.toBeInstanceOf(DeterminismViolationError);
  });
});
