import { setTimeout as sleep } from 'node:timers/promises';
import type { FindingCode, Severity } from './catalogue.ts';
import { FINDINGS } from './catalogue.ts';

/** What a check says, once for each thing that it has looked at. Nothing in it is a secret. */
export type Told =
  | { readonly status: 'ok'; readonly says: string }
  | { readonly status: Severity; readonly code: FindingCode; readonly says: string };

/** One line of the answer. */
export interface Finding {
  readonly check: string;
  readonly status: 'ok' | Severity | 'skipped';
  readonly code?: FindingCode;
  /** What was found, in a sentence for operators. */
  readonly says: string;
  /** What to do about it. */
  readonly todo?: string;
}

/** A look at one thing. It changes nothing, and gives up when its signal says so. */
export interface Check {
  readonly name: string;
  /** Checks that must not have failed before this one makes sense. */
  readonly needs?: readonly string[];
  /** Checks that must have ended, however they ended. */
  readonly after?: readonly string[];
  /** 10 s where it is left out. */
  readonly timeoutMs?: number;
  run(signal: AbortSignal): Promise<readonly Told[]>;
}

/** Checks that stand on the same part, and what they hold open. */
export interface CheckGroup {
  readonly checks: readonly Check[];
  close?(): Promise<void>;
}

const TIMEOUT_MS = 10_000;

export function ok(says: string): Told {
  return { status: 'ok', says };
}

export function found(code: FindingCode, says: string): Told {
  return { status: FINDINGS[code].severity, code, says };
}

/**
 * Runs checks side by side, each as soon as those that it needs have ended.
 * @param checks what one needs stands before it
 * @returns the findings in the order of the checks, whatever came first
 */
export async function runChecks(checks: readonly Check[]): Promise<Finding[]> {
  const running = new Map<string, Promise<readonly Finding[]>>();
  for (const check of checks) {
    const ended = (names: readonly string[] = []) =>
      Promise.all(names.map(async (name) => ({ name, findings: (await running.get(name)) ?? [] })));
    const run = async (): Promise<readonly Finding[]> => {
      await ended(check.after);
      const blocked = (await ended(check.needs)).find(({ findings }) => findings.some(isInTheWay));
      return blocked ? [skipped(check, blocked)] : runOne(check);
    };
    running.set(check.name, run());
  }
  return (await Promise.all(running.values())).flat();
}

function isInTheWay({ status }: Finding): boolean {
  return status === 'wrong' || status === 'unreachable' || status === 'skipped';
}

function skipped({ name: check }: Check, by: { name: string; findings: readonly Finding[] }): Finding {
  const cause = by.findings.find(isInTheWay);
  // Of a chain what it begins with is told.
  const says = cause?.status === 'skipped' ? cause.says : `because ${by.name} is ${cause?.status}`;
  return { check, status: 'skipped', says };
}

async function runOne(check: Check): Promise<Finding[]> {
  const { timeoutMs = TIMEOUT_MS } = check;
  const over = new AbortController();
  const stopped = new AbortController();
  const timeOut = async (): Promise<readonly Told[]> => {
    await sleep(timeoutMs, undefined, { signal: stopped.signal });
    over.abort();
    return [found('CHECK_TIMED_OUT', `No answer within ${timeoutMs / 1_000} s.`)];
  };
  try {
    const told = await Promise.race([check.run(over.signal).catch(unknownTrouble), timeOut()]);
    return told.map((one) => toFinding(check.name, one));
  } finally {
    stopped.abort();
  }
}

/** Checks tell what they know of; what is left is told by its kind, because its text may quote anything. */
function unknownTrouble(error: unknown): readonly Told[] {
  const kind = error instanceof Error ? error.name : 'Error';
  const code = error instanceof Error && 'code' in error ? ` ${String(error.code)}` : '';
  return [found('CHECK_FAILED', `The check itself failed (${kind}${code}).`)];
}

function toFinding(check: string, told: Told): Finding {
  return told.status === 'ok' ? { check, ...told } : { check, ...told, todo: FINDINGS[told.code].todo };
}

/** `1 key`, `2 keys` */
export function counted(count: number, what: string, many = `${what}s`): string {
  return `${count} ${count === 1 ? what : many}`;
}

/** How many findings there are of each status. */
export type Summary = Readonly<Record<Finding['status'], number>>;

export function summaryOf(findings: readonly Finding[]): Summary {
  const count = (status: Finding['status']) => findings.filter((one) => one.status === status).length;
  return {
    ok: count('ok'),
    warning: count('warning'),
    wrong: count('wrong'),
    unreachable: count('unreachable'),
    skipped: count('skipped'),
  };
}

/** 1 where somebody has to act, 3 where something only cannot be reached, 0 where neither. */
export function exitCodeOf({ wrong, unreachable }: Summary): 0 | 1 | 3 {
  if (wrong > 0) return 1;
  return unreachable > 0 ? 3 : 0;
}
