import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { createKeyedHash } from '../activities/redact/keyed-hash.ts';
import { DEFAULT_REDACTION, redactionPolicySchema } from '../domain/redact/kinds.ts';
import type { Redactor } from '../domain/redact/redactor.ts';
import { createRedactor } from '../domain/redact/redactor.ts';
import { judgeVectors, readPiiVectors } from '../test/support/pii-vectors.ts';
import { vectorsAt } from '../test/support/vectors-at.ts';
import type { Contestant } from './interleave.ts';
import { interleave } from './interleave.ts';
import type { Summary } from './statistics.ts';
import { median } from './statistics.ts';
import type { Comparison } from './table.ts';
import { duration } from './table.ts';

const MIB = 1024 * 1024;
const LIMIT_MS = 50;
/** Checks and hashes may take twice as long as replacing what merely looks like it. */
const TARGET = 0.5;
const WARM_UP = 5;

export const REDACT_NOTES: readonly string[] = [
  'Text: log lines of services and access logs, and series of kube-state-metrics, 1 MiB; a value to redact in each third line.',
  'Theirs: one String.replace after the other with an expression a kind, as they are handed around; no check digits, no hashes.',
  'Found: redacted from first to last character, of what the publisher marked. Wrong: redacted where nothing of the kind was marked.',
];

/** Measures the redactor's time for 1 MiB, and what it finds in the published texts. */
export async function benchRedact({ rounds, onProgress }: RedactBenchContext): Promise<Comparison[]> {
  const text = logText();
  const hashing = createRedactor(DEFAULT_REDACTION, createKeyedHash(randomBytes(32)));
  const masking = createRedactor(redactionPolicySchema.parse({ pii: 'mask', privateIps: 'mask' }));
  const cpuMs = new Map<string, number[]>();
  const contestant = (name: string, work: () => unknown): Contestant => ({
    name,
    prepare: (round) =>
      Promise.resolve(() => {
        const before = process.cpuUsage();
        work();
        const { user, system } = process.cpuUsage(before);
        if (round >= WARM_UP) cpuMs.set(name, [...(cpuMs.get(name) ?? []), (user + system) / 1_000]);
        return Promise.resolve();
      }),
  });
  const times = await interleave(
    [
      contestant('masked', () => masking.redact(text)),
      contestant('hashed', () => hashing.redact(text)),
      contestant('theirs', () => withExpressions(text)),
    ],
    { warmUp: WARM_UP, timed: rounds },
    (round) => onProgress(`1 MiB: round ${round + 1} of ${WARM_UP + rounds}`),
  );
  const [masked, hashed, theirs] = ['masked', 'hashed', 'theirs'].map((name) => times.get(name));
  if (!masked || !hashed || !theirs) throw new Error('there is nothing to compare with');
  const facts = [timeLine('masked', masked, cpuMs), timeLine('hashed', hashed, cpuMs), ...recallLines(masking), ''];
  return [
    { what: '1 MiB of logs, masked', ours: masked, theirs, target: TARGET },
    { what: '1 MiB of logs, hashed', ours: hashed, theirs, target: TARGET, facts },
  ];
}

export interface RedactBenchContext {
  readonly rounds: number;
  readonly onProgress: (message: string) => void;
}

/** The processor's time too: it is what counts where others keep the machine busy. */
function timeLine(name: string, { medianMs }: Summary, cpuMs: ReadonlyMap<string, readonly number[]>): string {
  const verdict = (ms: number) => `${duration(ms)} (${ms < LIMIT_MS ? 'within' : 'beyond'} ${LIMIT_MS} ms)`;
  const cpu = verdict(median(cpuMs.get(name) ?? []));
  return `1 MiB ${name}: median ${verdict(medianMs)} by the clock, ${cpu} of the processor`;
}

function recallLines(redactor: Redactor): string[] {
  const path = vectorsAt('pii', 'generated_small.json');
  if (!existsSync(path)) return [`recall: skipped, there is no ${path} (set BYOC_VECTORS)`];
  const rows = judgeVectors(readPiiVectors(readFileSync(path, 'utf8')), redactor);
  const total = rows.reduce(
    (sum, row) => ({ marked: sum.marked + row.marked, found: sum.found + row.found, wrong: sum.wrong + row.wrong }),
    { marked: 0, found: 0, wrong: 0 },
  );
  const line = (cells: readonly unknown[]) =>
    cells.map((cell, i) => (i === 0 ? String(cell).padEnd(8) : String(cell).padStart(7))).join('');
  const recall = (found: number, marked: number) => (marked === 0 ? '–' : `${((100 * found) / marked).toFixed(1)} %`);
  return [
    '',
    line(['kind', 'marked', 'found', 'wrong', '  recall']),
    ...rows.map(({ kind, marked, found, wrong }) =>
      line([kind, marked, found, wrong, recall(found, marked).padStart(9)]),
    ),
    line(['all', total.marked, total.found, total.wrong, recall(total.found, total.marked).padStart(9)]),
  ];
}

function logText(): string {
  const pod = (n: number) => `checkout-6f7d9c5b8-${n.toString(36).padStart(5, '0')}`;
  const lines: ((n: number) => string)[] = [
    (n) =>
      `2026-11-25T10:11:12.${n % 1000}Z INFO request method=GET path=/api/v1/items/${n * 7} status=200 took_ms=${n % 300}`,
    (n) =>
      `{"level":"info","msg":"login of user${n % 997}@example.com","pod":"${pod(n)}","trace":"4bf92f3577b34da6a3ce929d0e0e${n % 997}"}`,
    (n) =>
      `kube_pod_container_status_restarts_total{namespace="shop",pod="${pod(n)}",container="app"} ${n % 9} 1764065472123`,
    (n) => `10.2.${n % 50}.${n % 250} - - [25/Nov/2026:10:11:12 +0000] "GET /cart HTTP/1.1" 200 ${n} "-" "Mozilla/5.0"`,
    (n) => `W1125 10:11:12.000000 1 reflector.go:569] watch of *v1.Pod ended with: too old resource version: ${n * 31}`,
    (n) => `order ${n} confirmed, the customer is called back when the parcel leaves the warehouse in the evening`,
  ];
  let text = '';
  for (let n = 0; text.length < MIB; n += 1) text += `${lines[n % lines.length]?.(n)}\n`;
  return text.slice(0, MIB);
}

const EXPRESSIONS: readonly RegExp[] = [
  /[\w.+-]+@[\w-]+\.[\w.-]+/g,
  /\b(?:\d[ -]?){13,16}\b/g,
  /\b\d{3}-\d{2}-\d{4}\b/g,
  /\b(?:\d{1,3}\.){3}\d{1,3}\b/g,
  /\b(?:[0-9a-fA-F]{1,4}:){7}[0-9a-fA-F]{1,4}\b/g,
  /\b[A-Z]{2}\d{2}[A-Z0-9]{11,30}\b/g,
  /(?:\+?\d{1,3}[ .-]?)?\(?\d{3}\)?[ .-]?\d{3}[ .-]?\d{4}\b/g,
  /\beyJ[\w-]+\.[\w-]+\.[\w-]*/g,
  /\bbearer\s+[\w.~+/-]+=*/gi,
  /\bAKIA[0-9A-Z]{16}\b/g,
  /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?-----END [A-Z ]*PRIVATE KEY-----/g,
  /:\/\/[^/\s:@]+:[^/\s@]+@/g,
  /(?:password|secret|token|api_?key)["']?\s*[:=]\s*["']?[^\s"',;]+/gi,
];

function withExpressions(text: string): string {
  return EXPRESSIONS.reduce((rest, expression) => rest.replace(expression, '[redacted]'), text);
}
