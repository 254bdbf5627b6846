import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';
import { ConnectorError } from '../../domain/errors.ts';
import type { StepReport } from '../../domain/status.ts';
import type { Step, Wpk } from '../../domain/wpk.ts';
import type { StepJournal } from '../kubernetes/execution-types.ts';
import type { StepToUndo } from '../kubernetes/undo.ts';
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
    const anew = new Set(entries.map(({ path }) => path));
    const kept = (before?.entries ?? []).filter(({ path }) => !anew.has(path));
    const noted = { version: (before?.version ?? 0) + 1, entries: [...kept, ...entries] };
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
      return [{ step: id, entries: noted.entries.map((entry) => corrected.get(entry.path) ?? entry) }];
    });
  }

  private put(name: string, data: Readonly<Record<string, Uint8Array>>): Promise<void> {
    return this.secrets.put(name, subjectOf(this.wpk.metadata.id), data);
  }
}

/** Forgets what undoing a package would need: nothing of it can be undone from then on. */
export function forgetJournal(secrets: StateSecrets, wpkId: string): Promise<void> {
  return secrets.removeAll(subjectOf(wpkId));
}

/** The label of everything that is kept for undoing a package; the id as its claim bears it. */
export function subjectOf(wpkId: string): string {
  return `undo-${wpkId.toLowerCase()}`;
}

interface StepNames {
  readonly prefix: string;
  readonly end: string;
  part(version: number, index: number): string;
}

function namesOf(wpkId: string, stepIndex: number): StepNames {
  const prefix = `${subjectOf(wpkId)}-${stepIndex}`;
  return { prefix, end: `${prefix}-end`, part: (version, index) => `${prefix}-v${version}-${index}` };
}

type Found = Awaited<ReturnType<StateSecrets['list']>>;

/** Takes the newest version that is there as a whole. */
async function readStep(found: Found, names: StepNames): Promise<NotedStep | undefined> {
  const endData = found.get(names.end)?.['end'];
  const end = endData ? ((await unpacked(endData)) as End) : undefined;
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
    return { version, entries, ...(end && { end }) };
  }
  return end && { version: 0, entries: [], end };
}

async function unpacked(packed: Uint8Array): Promise<unknown> {
  try {
    return JSON.parse((await decompress(packed)).toString('utf8'));
  } catch (cause) {
    throw new ConnectorError('INTERNAL', 'What was kept for undoing the package cannot be read.', { cause });
  }
}
