import { styleText } from 'node:util';
import { stringify as toYaml } from 'yaml';
import { STATE_VARIABLE } from '../../dev/environment.ts';
import { ConnectorError } from '../../domain/errors.ts';
import { printable } from '../../domain/printable.ts';
import { SIMULATION_NOTICE } from '../../domain/simulation.ts';

/** Data goes to stdout, everything said to a person to stderr. */

export type Format = 'table' | 'json' | 'yaml';

type Style = 'bold' | 'dim' | 'green' | 'red' | 'yellow' | 'cyan';

/** Colours where a person looks; none when piped or under NO_COLOR. */
export function paint(style: Style, text: string, stream: NodeJS.WriteStream = process.stdout): string {
  return styleText(style, text, { stream });
}

export function print(line = ''): void {
  process.stdout.write(`${line}\n`);
}

export function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** After so long without an answer a command says what it waits for, ms. */
const ANSWERED_SOON_MS = 3_000;

/** Says what is waited for, unless the function that it returns is called in time. */
export function sayUnlessSoon(what: string, withinMs = ANSWERED_SOON_MS): () => void {
  const patience = setTimeout(() => say(what), withinMs);
  patience.unref();
  return () => clearTimeout(patience);
}

let simulated = false;

/** To be called as soon as it is known that what is told of is made up: people read it at once, and data says so too. */
export function markSimulated(isSo: boolean): void {
  if (!isSo || simulated) return;
  simulated = true;
  say(paint('yellow', SIMULATION_NOTICE, process.stderr));
}

/**
 * Prints data in the form that was asked for; `table` says how a person reads it.
 * @param exact what goes to a program that takes nothing more: the table of one word, or data in every form
 */
export function printAs(format: Format, data: unknown, table: () => string[], exact?: 'table' | 'all'): void {
  const told = exact === 'all' ? data : marked(data);
  switch (format) {
    case 'json':
      return print(toJsonText(told, 2));
    case 'yaml':
      return print(toYaml(told).trimEnd());
    case 'table': {
      const lines = table();
      // On a terminal it stands there already.
      if (simulated && exact === undefined && !(process.stdout.isTTY && process.stderr.isTTY)) print(SIMULATION_NOTICE);
      return lines.forEach((line) => print(line));
    }
  }
}

/** Each of a list by itself, because lists are taken apart. */
function marked(data: unknown): unknown {
  if (!simulated) return data;
  if (Array.isArray(data)) return data.map(marked);
  return typeof data === 'object' && data !== null ? { simulated: true, ...data } : data;
}

/**
 * JSON for a terminal as much as for a program: what JSON need not escape and a terminal obeys, control characters
 * above ASCII and marks that reorder text, is escaped as well, and means the same.
 */
export function toJsonText(data: unknown, indent = 0): string {
  const text = JSON.stringify(data, null, indent);
  return indent === 0 ? printable(text) : text.split('\n').map(printable).join('\n');
}

/** Lines up columns; cells are shown as data, whatever control characters they hold. */
export function columns(rows: readonly (readonly string[])[]): string[] {
  const safe = rows.map((row) => row.map((cell) => printable(cell)));
  const widths = safe.reduce<number[]>((max, row) => row.map((cell, i) => Math.max(max[i] ?? 0, cell.length)), []);
  return safe.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

/** Breaks a text between words, into lines of at most so many characters; a longer word has a line of its own. */
export function wrapped(text: string, width: number): string[] {
  return text.split(' ').reduce<string[]>((lines, word) => {
    const last = lines.at(-1);
    if (last === undefined || last.length + 1 + word.length > width) return [...lines, word];
    return [...lines.slice(0, -1), `${last} ${word}`];
  }, []);
}

/** The command as one types it here: from a checkout npm runs it. */
export const BYOC = process.env['npm_lifecycle_event'] === undefined ? 'byoc' : 'npm run -s byoc --';

/** What to try next, by what went wrong. */
const NEXT: Partial<Record<ConnectorError['code'], string>> = {
  TEMPORAL_UNAVAILABLE:
    'Is Temporal running, and TEMPORAL_ADDRESS right? Does it want TLS (TEMPORAL_TLS_SERVER_CA_CERT_PATH) or a client ' +
    `certificate (TEMPORAL_TLS_CLIENT_CERT_PATH, TEMPORAL_TLS_CLIENT_KEY_PATH)? For a local stack: ${BYOC} dev up`,
  WORKER_UNAVAILABLE: 'Is a worker of this cluster running? Look at its log; its queue shows in the Temporal UI.',
  KUBERNETES_UNAVAILABLE: 'Does `kubectl version` reach the cluster? Check KUBECONFIG.',
  VAULT_UNAVAILABLE: 'Is VAULT_ADDR right, and Vault unsealed? Try: vault status',
  PAYLOAD_KEYS_UNAVAILABLE:
    'May this login to Vault read the payload keys, and are there any? See docs/data-protection.md.',
  PAYLOAD_SEALED:
    'With BYOC_PAYLOAD_CODEC=vault, here and in the worker, and a login to Vault that may read the payload keys it can be read.',
  S3_UNAVAILABLE: 'Are the name of the bucket, AWS_ENDPOINT_URL_S3, AWS_REGION and the credentials (AWS_…) right?',
  WPK_ALREADY_USED: `An id is used once, ever. What became of it: ${BYOC} show ID. Pack it anew to get another id: ${BYOC} pack`,
  APPROVAL_PLAN_MISMATCH: `Read the current plan before you vote: ${BYOC} show ID`,
  INTERNAL: 'BYOC_DEBUG=1 shows where.',
};

/**
 * Tells a person what went wrong and what to do; returns the exit code that goes with it.
 * @param help where the command is explained that was typed wrongly
 */
export function reportError(error: unknown, help = `See: ${BYOC} --help`): number {
  // Whoever types the command may know what went wrong in it; there is no other log of it.
  const known =
    error instanceof ConnectorError ? error : new ConnectorError('INTERNAL', String(error), { cause: error });
  const isUsage = known.code === 'USAGE'; // what is to be done instead says it all
  const what = printable(isUsage ? known.detail : known.message);
  say(`${paint('red', `byoc: ${known.code}`, process.stderr)}: ${what}`);
  const next = isUsage ? help : (nextOfStack(known) ?? NEXT[known.code]);
  if (next) say(next);
  if (process.env['BYOC_DEBUG'] && known.cause) say(String((known.cause as Error).stack ?? known.cause));
  return known.traits.exitCode;
}

/** Files of the embedded stack are gone when it is: its settings outlive it in the shell that was told of them. */
function nextOfStack({ code, detail }: ConnectorError): string | undefined {
  const folder = process.env[STATE_VARIABLE];
  if (code !== 'CONFIG_INVALID' || !folder || !detail.includes(folder)) return undefined;
  return `That file is the embedded stack's, which is not up. Try: ${BYOC} dev up, then: eval "$(${BYOC} dev env)"`;
}
