import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';
import { ConnectorError } from '../../domain/errors.ts';
import type { StepReport, UndoneObject } from '../../domain/status.ts';
import type { Step, Wpk } from '../../domain/wpk.ts';
import type { StepJournal } from '../kubernetes/execution-types.ts';
import type { Executor } from '../kubernetes/executor.ts';
import type { StepToUndo, UndoneEntry } from '../kubernetes/undo.ts';
import { notedAnew, startingFrom } from '../kubernetes/undo-rules.ts';
import type { UndoEntry } from '../kubernetes/undo-entry.ts';
import type { StateSecrets } from '../kubernetes/writer.ts';

/** A Secret holds at most 1 MiB. */
const MAX_PART_BYTES = 900_000;

const compress = promisify(gzip);
const decompress = promisify(gunzip);

interface End {
  readonly report: StepReport;
  readonly corrections: readonly UndoEntry[];
}

interface NotedStep {
  /** Counts how often the entries were written; a crash may have left the newest in parts. */
  version: number;
  entries: readonly UndoEntry[];
  end?: End;
  /** What a rollback has undone of it. */
  undone?: readonly UndoneEntry[];
}

/**
 * What one package has written and what was there before, in Secrets of the connector's own, because Secrets are in it
 * in clear. It says what an attempt after a crash need not do again, and what undoing the package needs.
 * All methods throw KUBERNETES_UNAVAILABLE, KUBERNETES_FORBIDDEN or WRITE_REFUSED.
 */
export class Journal implements StepJournal {
  private readonly secrets: StateSecrets;
  private readonly wpk: Wpk;
  private readonly noted: Map<string, NotedStep>;

  private constructor(secrets: StateSecrets, wpk: Wpk, noted: Map<string, NotedStep>) {
    this.secrets = secrets;
    this.wpk = wpk;
    this.noted = noted;
  }

  /** A journal of a package of which nothing was written yet. */
  static begin(secrets: StateSecrets, wpk: Wpk): Journal {
    return new Journal(secrets, wpk, new Map());
  }

  /** The journal that an earlier attempt has left. */
  static async read(secrets: StateSecrets, wpk: Wpk): Promise<Journal> {
    const found = await secrets.list(subjectOf(wpk.metadata.id));
    const noted = new Map<string, NotedStep>();
    for (const [index, { id }] of wpk.steps.entries()) {
      const step = await readStep(found, namesOf(wpk.metadata.id, index));
      if (step) noted.set(id, step);
    }
    return new Journal(secrets, wpk, noted);
  }

  async begin(step: Step, entries: readonly UndoEntry[]): Promise<void> {
    const before = this.noted.get(step.id);
    // Without a write there is nothing to undo; what an earlier attempt has written stays noted as it was.
    if (entries.length === 0) return;
    const earlier = new Map((before?.entries ?? []).map((entry) => [entry.path, entry]));
    const anew = entries.map((entry) => {
      const known = earlier.get(entry.path);
      earlier.delete(entry.path);
      return known ? notedAnew(known, entry) : entry;
    });
    const noted = { version: (before?.version ?? 0) + 1, entries: [...earlier.values(), ...anew] };
    const names = namesOf(this.wpk.metadata.id, this.wpk.steps.indexOf(step));
    const packed = await compress(JSON.stringify(noted.entries), { level: 1 });
    const count = Math.ceil(packed.length / MAX_PART_BYTES);
    const parts = Array.from({ length: count }, (_, index) =>
      packed.subarray(index * MAX_PART_BYTES, (index + 1) * MAX_PART_BYTES),
    );
    await Promise.all(
      parts.map((part, index) => this.put(names.part(noted.version, index), { part, count: Buffer.from(`${count}`) })),
    );
    this.noted.set(step.id, noted);
  }

  async end(step: Step, report: StepReport, corrections: readonly UndoEntry[]): Promise<void> {
    const isDone = report.outcome !== 'partial';
    // The end of the last step is the end of the package, which its claim remembers.
    if (corrections.length === 0 && (!isDone || step === this.wpk.steps.at(-1))) return;
    const end: End = { report, corrections };
    const names = namesOf(this.wpk.metadata.id, this.wpk.steps.indexOf(step));
    await this.put(names.end, { end: await compress(JSON.stringify(end), { level: 1 }) });
    this.noted.set(step.id, { version: 0, entries: [], ...this.noted.get(step.id), end });
  }

  /** Notes what is undone of a step, so that nothing of it is undone again. */
  async undone(stepId: string, undone: readonly UndoneEntry[]): Promise<void> {
    const index = this.wpk.steps.findIndex(({ id }) => id === stepId);
    await this.put(namesOf(this.wpk.metadata.id, index).undone, {
      undone: await compress(JSON.stringify(undone), { level: 1 }),
    });
  }

  /** The steps that came to their end, by id. */
  done(): ReadonlyMap<string, StepReport> {
    const ended = [...this.noted].flatMap(([id, { end }]) => (end ? [[id, end.report] as const] : []));
    return new Map(ended.filter(([, { outcome }]) => outcome !== 'partial'));
  }

  /** What was written, or may have been, in the order of the package. */
  written(): StepToUndo[] {
    return this.wpk.steps.flatMap(({ id }) => {
      const noted = this.noted.get(id);
      if (!noted) return [];
      const corrected = new Map((noted.end?.corrections ?? []).map((entry) => [entry.path, entry]));
      const entries = noted.entries.map((entry) => startingFrom(entry.before, corrected.get(entry.path) ?? entry));
      return [{ step: id, entries, undone: noted.undone ?? [] }];
    });
  }

  /** What rollbacks before have undone, the last step first. */
  undoneBefore(): UndoneObject[] {
    const steps = this.written().reverse();
    return steps.flatMap(({ undone }) => undone.map(({ object }) => object));
  }

  private put(name: string, data: Readonly<Record<string, Uint8Array>>): Promise<void> {
    return this.secrets.put(name, subjectOf(this.wpk.metadata.id), data);
  }
}

/** Secrets that only who holds the package may write: an executor that was out of touch would overwrite what others note. */
export function whileHeld(secrets: StateSecrets, executor: Pick<Executor, 'assertHolds'>): StateSecrets {
  return {
    ...secrets,
    put: async (...args) => {
      executor.assertHolds();
      await secrets.put(...args);
    },
  };
}

/** Forgets what undoing a package would need: nothing of it can be undone from then on. */
export function forgetJournal(secrets: StateSecrets, wpkId: string): Promise<void> {
  return secrets.removeAll(subjectOf(wpkId));
}

/** The label of everything that is kept for undoing a package; the id as its claim bears it. */
export function subjectOf(wpkId: string): string {
  return `${SUBJECT_PREFIX}${wpkId.toLowerCase()}`;
}

/** The id of the package that a label is about, undefined for any other label. */
export function packageOfSubject(subject: string): string | undefined {
  return subject.startsWith(SUBJECT_PREFIX) ? subject.slice(SUBJECT_PREFIX.length).toUpperCase() : undefined;
}

const SUBJECT_PREFIX = 'undo-';

interface StepNames {
  readonly prefix: string;
  readonly end: string;
  readonly undone: string;
  part(version: number, index: number): string;
}

function namesOf(wpkId: string, stepIndex: number): StepNames {
  const prefix = `${subjectOf(wpkId)}-${stepIndex}`;
  const part: StepNames['part'] = (version, index) => `${prefix}-v${version}-${index}`;
  return { prefix, end: `${prefix}-end`, undone: `${prefix}-undone`, part };
}

type Found = Awaited<ReturnType<StateSecrets['list']>>;

/** Takes the newest version that is there as a whole. */
async function readStep(found: Found, names: StepNames): Promise<NotedStep | undefined> {
  const endData = found.get(names.end)?.['end'];
  const undoneData = found.get(names.undone)?.['undone'];
  // As end() and undone() have packed them.
  const more = {
    ...(endData && { end: (await unpacked(endData)) as End }),
    ...(undoneData && { undone: (await unpacked(undoneData)) as readonly UndoneEntry[] }),
  };
  const versions = [...found.keys()].flatMap((name) => {
    const [, version] = new RegExp(`^${names.prefix}-v(\\d+)-0$`).exec(name) ?? [];
    return version === undefined ? [] : [Number(version)];
  });
  for (const version of versions.sort((a, b) => b - a)) {
    const count = Number(Buffer.from(found.get(names.part(version, 0))?.['count'] ?? []).toString());
    const parts = Array.from({ length: count }, (_, index) => found.get(names.part(version, index))?.['part']);
    const whole = parts.filter((part) => part !== undefined);
    if (whole.length !== count) continue;
    const entries = (await unpacked(Buffer.concat(whole))) as readonly UndoEntry[]; // as begin() has packed them
    return { version, entries, ...more };
  }
  return endData && { version: 0, entries: [], ...more };
}

async function unpacked(packed: Uint8Array): Promise<unknown> {
  try {
    return JSON.parse((await decompress(packed)).toString('utf8'));
  } catch (cause) {
    throw new ConnectorError('INTERNAL', 'What was kept for undoing the package cannot be read.', { cause });
  }
}
