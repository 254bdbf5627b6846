import type { AuditEntry } from '../domain/audit.ts';
import { printable } from '../domain/printable.ts';
import { SIMULATION_NOTICE } from '../domain/simulation.ts';
import type { AuditReport } from './audit-verify.ts';

/** What an auditor asks of a period, as a Markdown page. */

export interface ReportInput {
  /** In the order of time; each event once. */
  readonly entries: AsyncIterable<AuditEntry>;
  readonly verified: AuditReport;
  readonly since: string | undefined;
  readonly until: string | undefined;
  readonly madeAt: string;
  /** What was read: paths or `s3://…`. */
  readonly sources: readonly string[];
  /** Whether a person reads it as it stands, and nothing makes markup of what entries hold. */
  readonly isPlain?: boolean;
}

interface PackageRow {
  readonly wpk: string;
  name: string;
  author: string;
  signedBy: string;
  risk: string;
  /** Who approved it as it was executed; of one that was not, nobody. */
  approvedBy: string[];
  objects: number;
  end: string;
  endedAt: string;
}

type Cells = readonly string[];

export async function auditReport(input: ReportInput): Promise<string> {
  const collected = new Collected();
  for await (const entry of input.entries) collected.add(entry);
  const { verified, isPlain = false } = input;
  const table = tables(isPlain ? plainCell : cell);
  const period = `${input.since ?? 'the beginning'} to ${input.until ?? 'the end'}`;
  return [
    `# Audit report, ${period}`,
    '',
    ...(verified.chains.some(({ simulated }) => simulated) ? [`**${SIMULATION_NOTICE}.**`, ''] : []),
    `Made at ${input.madeAt} from ${input.sources.map(code).join(', ')}.`,
    '',
    `**${verified.ok ? 'The log verifies' : 'The log does not verify'}**: ${collected.count} entries in the period; ` +
      `${verified.heads} signed heads and ${verified.manifests} manifests of days were compared.`,
    '',
    ...table(
      'Chains',
      ['chain', 'entries', 'numbers', 'from', 'to', 'signed up to'],
      verified.chains.map(({ chain, entries, firstSeq, lastSeq, from, to, signed }) => [
        ...[chain, String(entries), `${firstSeq}–${lastSeq}`, from, to],
        signed ? `${signed.seq}` : 'not signed, or no key given',
      ]),
    ),
    ...table(
      'Gaps and doubts',
      ['kind', 'where', 'expected', 'found'],
      verified.problems.map(({ kind, file, line, expected, found }) => [
        ...[kind, line === undefined ? file : `${file}:${line}`, expected, found],
      ]),
    ),
    ...table(
      'Packages',
      ['package', 'what', 'author', 'signed by', 'risk', 'approved by', 'objects', 'end', 'at'],
      [...collected.packages.values()].map((row) => [
        ...[row.wpk, row.name, row.author, row.signedBy, row.risk, row.approvedBy.join(', ')],
        ...[String(row.objects), row.end, row.endedAt],
      ]),
    ),
    ...table('Votes', ['at', 'package', 'who', 'proof', 'vote', 'counts', 'said'], collected.votes),
    ...table('Refusals', ['at', 'what', 'package', 'who', 'code', 'detail'], collected.refusals),
    ...table('Stops', ['at', 'what', 'package', 'who', 'proof', 'reason'], collected.stops),
    ...table('Policy and keys', ['at', 'what', 'detail'], collected.trust),
    ...table('Access to secrets and to the log', ['what', 'who', 'times'], collected.accessRows()),
    ...table('Life of the log', ['at', 'chain', 'what', 'detail'], collected.life),
  ].join('\n');
}

class Collected {
  count = 0;
  readonly packages = new Map<string, PackageRow>();
  readonly votes: Cells[] = [];
  readonly refusals: Cells[] = [];
  readonly stops: Cells[] = [];
  readonly trust: Cells[] = [];
  readonly life: Cells[] = [];
  readonly #access = new Map<string, number>();

  add(entry: AuditEntry): void {
    this.count += 1;
    const [group] = entry.type.split('.');
    if (group === 'package' || group === 'step' || group === 'rollback') this.#addPackage(entry);
    if (entry.type === 'vote.recorded') this.#addVote(entry);
    if (entry.type === 'call.refused' || entry.type === 'package.denied') this.#addRefusal(entry);
    if (entry.type === 'package.stopped' || group === 'freeze') this.#addStop(entry);
    if (group === 'policy' || group === 'key') this.trust.push([entry.time, entry.type, detailOf(entry)]);
    if (entry.type === 'secret.read' || entry.type === 'audit.read') this.#addAccess(entry);
    else if (group === 'audit' || group === 'worker') {
      this.life.push([entry.time, entry.chain, entry.type, detailOf(entry)]);
    }
  }

  #addPackage(entry: AuditEntry): void {
    const wpk = entry.wpk ?? entry.workflowId ?? '';
    const row = this.packages.get(wpk) ?? {
      ...{ wpk, name: '', author: '', signedBy: '', risk: '', approvedBy: [], objects: 0, end: '', endedAt: '' },
    };
    this.packages.set(wpk, row);
    const text = (name: string) => String(entry.detail[name] ?? '');
    switch (entry.type) {
      case 'package.verified':
        Object.assign(row, { name: `${text('name')} (${text('playbook')})` });
        Object.assign(row, { author: text('author'), signedBy: text('signedBy') });
        return;
      case 'package.planned':
        row.risk = text('risk');
        return;
      case 'package.approved':
        row.approvedBy = approversIn(entry);
        return;
      case 'step.finished':
        row.objects += changedIn(entry);
        return;
      case 'step.started':
        return;
      default:
        // One end after the other: that a package is refused when it comes again does not undo that it was executed.
        row.end = joined(row.end, endOf(entry));
        row.endedAt = joined(row.endedAt, entry.time);
    }
  }

  #addVote(entry: AuditEntry): void {
    const { decision, comment, refused } = entry.detail as {
      readonly decision?: string;
      readonly comment?: string;
      readonly refused?: { readonly code?: string };
    };
    const counts = refused ? `no: ${refused.code ?? ''}` : 'yes';
    const { id, proof } = entry.actor;
    this.votes.push([entry.time, entry.wpk ?? '', id, proof, decision ?? '', counts, comment ?? '']);
  }

  #addRefusal(entry: AuditEntry): void {
    const { code, detail } = entry.detail as { readonly code?: string; readonly detail?: string };
    const what = [entry.type, entry.wpk ?? entry.workflowId ?? '', entry.actor.id];
    this.refusals.push([entry.time, ...what, code ?? errorIn(entry).slice(2), detail ?? '']);
  }

  #addStop(entry: AuditEntry): void {
    const { reason } = entry.detail as { readonly reason?: string };
    this.stops.push([entry.time, entry.type, entry.wpk ?? '', entry.actor.id, entry.actor.proof, reason ?? '']);
  }

  #addAccess(entry: AuditEntry): void {
    const { paths, command, source } = entry.detail as {
      readonly paths?: readonly string[];
      readonly command?: string;
      readonly source?: string;
    };
    for (const what of paths ?? [`${command ?? ''} ${source ?? ''}`]) {
      const key = JSON.stringify([what, entry.actor.id]);
      this.#access.set(key, (this.#access.get(key) ?? 0) + 1);
    }
  }

  accessRows(): Cells[] {
    return [...this.#access].map(([key, times]) => [...(JSON.parse(key) as string[]), String(times)]);
  }
}

function endOf(entry: AuditEntry): string {
  if (entry.type === 'rollback.finished') return entry.detail['complete'] ? 'rolled back' : 'rolled back in part';
  return `${entry.type.replace(/^package\./, '')}${errorIn(entry)}`;
}

function joined(before: string, next: string): string {
  return before === '' ? next : `${before}, then ${next}`;
}

function approversIn({ detail }: AuditEntry): string[] {
  const {
    approvers = [],
    auto,
    reason,
  } = detail as {
    readonly approvers?: readonly { readonly approver: string; readonly proof: string }[];
    readonly auto?: boolean;
    readonly reason?: string;
  };
  return auto ? [`policy: ${reason ?? ''}`] : approvers.map(({ approver, proof }) => `${approver} (${proof})`);
}

function changedIn({ detail }: AuditEntry): number {
  const { objects = [] } = detail as { readonly objects?: readonly { readonly change: string }[] };
  return objects.filter(({ change }) => change !== 'unchanged').length;
}

function errorIn({ detail }: AuditEntry): string {
  const { error } = detail as { readonly error?: { readonly code: string } };
  return error ? `: ${error.code}` : '';
}

const MAX_DETAIL = 300;

function detailOf({ detail }: AuditEntry): string {
  const text = JSON.stringify(detail);
  return text.length > MAX_DETAIL ? `${text.slice(0, MAX_DETAIL)}…` : text;
}

function tables(show: (text: string) => string) {
  return (title: string, heading: Cells, rows: readonly Cells[]): string[] => {
    if (rows.length === 0) return [`## ${title}`, '', 'None.', ''];
    const line = (cells: Cells) => `| ${cells.map(show).join(' | ')} |`;
    return [`## ${title}`, '', line(heading), `|${heading.map(() => '---|').join('')}`, ...rows.map(line), ''];
  };
}

/** Whatever an entry holds stays text: no markup, no link, no line of a table of its own. */
function cell(text: string): string {
  return printable(text).replace(/[\\`*_{}[\]<>()#+!|~&]/g, (mark) => `\\${mark}`);
}

/** On a terminal nothing is markup but what parts the cells. */
function plainCell(text: string): string {
  return printable(text).replaceAll('|', '\\|');
}

function code(text: string): string {
  return `\`${printable(text).replaceAll('`', "'")}\``;
}
