import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { found, ok } from './check.ts';
import type { CheckGroup, Told } from './check.ts';
import type { Evidence } from './evidence.ts';

/** As the worker warns (worker/certificates.ts), and the chart's alerts. */
const SOON_DAYS = 14;
const DAY_MS = 86_400_000;
/** Tokens and signatures allow for less than a minute. */
const MAX_CLOCK_OFFSET_MS = 30_000;

export interface CertificateFile {
  /** The setting that names it. */
  readonly setting: string;
  readonly path: string;
}

export interface JudgeOptions {
  readonly files: readonly CertificateFile[];
  readonly evidence: Evidence;
  /** Checks that gather what is judged here. */
  readonly after: readonly string[];
  readonly now: () => Date;
}

/** What came up with the other checks: clocks that differ, and certificates that run out. */
export function sharedChecks({ files, evidence, after, now }: JudgeOptions): CheckGroup {
  return {
    checks: [
      { name: 'certificates', after, run: async () => judgeCertificates(files, evidence, now()) },
      { name: 'clock', after, run: () => Promise.resolve(judgeClocks(evidence)) },
    ],
  };
}

async function judgeCertificates(files: readonly CertificateFile[], evidence: Evidence, now: Date): Promise<Told[]> {
  const told: Told[] = [];
  for (const { setting, path } of files) {
    const expiresAt = firstExpiry(await readFile(path, 'utf8').catch(() => ''));
    if (expiresAt) evidence.certificates.set(setting, expiresAt);
    else told.push(found('CERTIFICATE_UNREADABLE', `${setting} (${path}) holds no certificate that can be read.`));
  }
  const days = [...evidence.certificates].map(([name, at]) => ({
    name,
    left: (at.getTime() - now.getTime()) / DAY_MS,
  }));
  for (const { name, left } of days) {
    if (left <= 0) told.push(found('CERTIFICATE_EXPIRED', `The certificate of ${name} has expired.`));
    else if (left < SOON_DAYS)
      told.push(found('CERTIFICATE_EXPIRING', `The certificate of ${name} expires in ${inDays(left)}.`));
  }
  if (told.length > 0) return told;
  if (days.length === 0) return [ok('No part shows one.')];
  const next = days.reduce((a, b) => (b.left < a.left ? b : a));
  return [ok(`${days.length} are good; the next to expire is that of ${next.name}, in ${inDays(next.left)}.`)];
}

function inDays(days: number): string {
  if (days < 2) return `${Math.max(1, Math.floor(days * 24))} hours`;
  return `${Math.floor(days)} days`;
}

function judgeClocks({ clocks }: Evidence): Told[] {
  const seconds = (ms: number) => `${(Math.abs(ms) / 1_000).toFixed(Math.abs(ms) < 10_000 ? 1 : 0)} s`;
  const off = [...clocks].filter(([, ms]) => Math.abs(ms) > MAX_CLOCK_OFFSET_MS);
  if (clocks.size === 0) return [ok('No part that answers tells its time.')];
  // All by the same: then it is ours.
  const isOurs = off.length > 1 && off.length === clocks.size;
  if (off.length > 0) {
    return off.map(([part, ms]) =>
      found(
        'CLOCK_OFF',
        `The clock of ${part} is ${seconds(ms)} ${ms > 0 ? 'ahead of' : 'behind'} ours${isOurs ? ', as all are: ours is wrong' : ''}.`,
      ),
    );
  }
  const widest = Math.max(...[...clocks.values()].map(Math.abs));
  return [ok(`Ours is within ${seconds(widest)} of those of ${[...clocks.keys()].join(', ')}.`)];
}

/** When the first of the certificates in a PEM text expires; undefined where there is none. */
function firstExpiry(pem: string): Date | undefined {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  try {
    const times = blocks.map((block) => new X509Certificate(block).validToDate.getTime());
    return times.length > 0 ? new Date(Math.min(...times)) : undefined;
  } catch {
    return undefined;
  }
}

/** The same of what a client takes as its certificate. */
export function certificateIn(cert: unknown): Date | undefined {
  return typeof cert === 'string' || Buffer.isBuffer(cert) ? firstExpiry(cert.toString('utf8')) : undefined;
}
