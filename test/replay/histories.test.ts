import { readdirSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from '@jest/globals';
import protos from '@temporalio/proto';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { DeterminismViolationError } from '@temporalio/workflow';
import { dataConverter } from '../../client/data-converter/index.ts';
import { VERSION } from '../../domain/names.ts';
import { workflowBundle } from '../support/workflow-bundle.ts';

const { History } = protos.temporal.api.history.v1;
const FOLDER = join(import.meta.dirname, '../histories');
const WORKFLOWS = join(import.meta.dirname, '../../workflows');

// What Temporal has to say about a run that does not fit is the point of a test here, and no news.
Runtime.install({
  logger: new DefaultLogger('ERROR'),
  telemetryOptions: { logging: { filter: { core: 'ERROR', other: 'ERROR' } } },
});

type Event = Readonly<Record<string, unknown>>;

interface SavedRun {
  readonly workflowId: string;
  readonly history: { readonly events: readonly Event[] };
}

const files = readdirSync(FOLDER);
const runs = new Map(
  files.map((file) => [file, JSON.parse(readFileSync(join(FOLDER, file), 'utf8')) as SavedRun]), // by dev/histories
);
const runOf = (file: string) => runs.get(file) as SavedRun;

/** Replays all of them; by file, what does not fit, or undefined. */
async function replay(changed: (run: SavedRun) => SavedRun): Promise<ReadonlyMap<string, Error | undefined>> {
  const codePath = await workflowBundle();
  // Longs as texts are what tells Temporal's own JSON form, in which the files are not: it is read here.
  const histories = [...runs.values()].map((run) => ({
    workflowId: run.workflowId,
    history: History.fromObject(changed(run).history),
  }));
  const fileOf = new Map([...runs].map(([file, run]) => [runIdOf(run), file]));
  const found = new Map<string, Error | undefined>();
  const results = Worker.runReplayHistories({ workflowBundle: { codePath }, dataConverter }, histories);
  for await (const { runId, error } of results) found.set(fileOf.get(runId) ?? runId, error);
  return found;
}

function runIdOf({ history }: SavedRun): string {
  return (history.events[0]?.['workflowExecutionStartedEventAttributes'] as { originalExecutionRunId: string })
    .originalExecutionRunId;
}

const SCHEDULED = 'activityTaskScheduledEventAttributes';
const MARKER = 'markerRecordedEventAttributes';

interface Marker {
  readonly markerName: string;
  readonly details: Readonly<Record<string, { readonly payloads: readonly { readonly data: string }[] }>>;
}

function markerOf(event: Event, name: string): Marker | undefined {
  const marker = event[MARKER] as Marker | undefined;
  return marker?.markerName === name ? marker : undefined;
}

/** The same with other JSON in a marker's payload of this name. */
function withPayload(event: Event, marker: Marker, name: string, change: (value: object) => object): Event {
  const [payload, ...others] = marker.details[name]?.payloads ?? [];
  if (!payload) throw new Error(`no ${name} in a marker`);
  const value = JSON.parse(Buffer.from(payload.data, 'base64').toString()) as object;
  const data = Buffer.from(JSON.stringify(change(value))).toString('base64');
  const details = { ...marker.details, [name]: { payloads: [{ ...payload, data }, ...others] } };
  return { ...event, [MARKER]: { ...marker, details } };
}

/** What the bytes in a history say: arguments, results, memos, markers. */
function payloadsIn(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, one]) =>
    name === 'data' && typeof one === 'string' ? [Buffer.from(one, 'base64').toString()] : payloadsIn(one),
  );
}

/** As if another activity had been called where the run called its last one. */
function withAnotherActivity(run: SavedRun): SavedRun {
  const { events } = run.history;
  const last = events.findLastIndex((event) => event[SCHEDULED] || markerOf(event, 'core_local_activity'));
  const altered = events.map((event, index) => {
    if (index !== last) return event;
    const marker = markerOf(event, 'core_local_activity');
    if (marker) return withPayload(event, marker, 'data', (data) => ({ ...data, activity_type: 'other' }));
    return { ...event, [SCHEDULED]: { ...(event[SCHEDULED] as object), activityType: { name: 'other' } } };
  });
  return { ...run, history: { events: altered } };
}

/** Runs that began under an older version must go on under this one. */
describe('the history of a run', () => {
  let good: ReadonlyMap<string, Error | undefined>;
  let altered: ReadonlyMap<string, Error | undefined>;
  beforeAll(async () => {
    good = await replay((run) => run);
    altered = await replay(withAnotherActivity);
  }, 180_000);

  it.each(files)('%s is carried on by the workflow as it is now', (file) => {
    expect([...good.keys()]).toContain(file);
    expect(good.get(file)).toBeUndefined();
  });

  it.each(files)('%s with another last activity is found out', (file) => {
    expect(altered.get(file)).toBeInstanceOf(DeterminismViolationError);
  });

  it.each(files)('%s tells no path of the machine that it ran on', async (file) => {
    const text = await readFile(join(FOLDER, file), 'utf8');
    for (const one of [text, ...payloadsIn(runOf(file))])
      expect(one).not.toMatch(/\(\/|node_modules|\.[jt]s:\d|\/(?:tmp|home|root|Users)\//);
  });

  it('of a later release, which passed a patch that this one does not have, is not carried on wrongly', async () => {
    const isPatch = (event: Event) => markerOf(event, 'core_patch');
    const found = await replay((run) => {
      const events = run.history.events.map((event) => {
        const marker = isPatch(event);
        return marker
          ? withPayload(event, marker, 'patch-data', (data) => ({ ...data, id: 'of-a-later-release' }))
          : event;
      });
      return { ...run, history: { events } };
    });
    const patched = files.filter((file) => runOf(file).history.events.some(isPatch));
    expect(patched.length).toBeGreaterThan(0);
    for (const file of patched) expect([file, found.get(file)]).toEqual([file, expect.any(DeterminismViolationError)]);
  }, 120_000);
});

describe('the saved histories', () => {
  const sources = readdirSync(WORKFLOWS).map((file) => readFileSync(join(WORKFLOWS, file), 'utf8'));
  const ofThisVersion = files.filter((file) => file.includes(`-${VERSION}-`));

  it('are of every workflow that there is, as this release has it', () => {
    const exported = [...readFileSync(join(WORKFLOWS, 'index.ts'), 'utf8').matchAll(/export \{ ([^}]+) \}/g)];
    const workflows = exported.flatMap(([, names = '']) => names.split(', '));
    expect(workflows.length).toBeGreaterThan(5);
    for (const name of workflows)
      expect([name, ofThisVersion.some((file) => file.startsWith(`${name}-`))]).toEqual([name, true]);
  });

  it('pass every patch that there is, and some of them never did', () => {
    const patches = sources.flatMap((text) => [...text.matchAll(/patched\('([^']+)'\)/g)].map(([, id]) => id));
    expect(patches.length).toBeGreaterThan(0);
    const passed = files.map((file) =>
      runOf(file).history.events.flatMap((event) => markerOf(event, 'core_patch') ?? []),
    );
    const ids = passed.map((markers) =>
      markers.map((marker) => Buffer.from(marker.details['patch-data']?.payloads[0]?.data ?? '', 'base64').toString()),
    );
    for (const id of patches)
      expect([id, ids.some((all) => all.some((one) => one.includes(`"${id}"`)))]).toEqual([id, true]);
    expect(ids.some((all) => all.length === 0)).toBe(true);
  });

  it('hold runs that wait: for people, in the middle of execution, and for a part that is away', () => {
    const inFlight = ofThisVersion.filter((file) => file.includes('-in-flight-'));
    expect(inFlight).toHaveLength(3);
    for (const file of inFlight) {
      const last = runOf(file).history.events.at(-1)?.['eventType'];
      expect([file, last]).not.toEqual([
        file,
        expect.stringMatching(/WORKFLOW_EXECUTION_(COMPLETED|FAILED|CANCELED)$/),
      ]);
    }
  });
});
