import type { AuditEvent } from '../../domain/audit.ts';
import type { AuditEventType } from '../../domain/audit-catalogue.ts';
import type { Sha256 } from '../../domain/digest.ts';
import type { Redactor } from '../../domain/redact/redactor.ts';

/** Where people write what they like, by type: it may hold what must not lie for months where nobody can delete it. */
const FREE_TEXT: ReadonlyMap<string, 'comment' | 'reason'> = new Map<AuditEventType, 'comment' | 'reason'>([
  ['vote.recorded', 'comment'],
  ['package.stopped', 'reason'],
  ['freeze.set', 'reason'],
  ['freeze.lifted', 'reason'],
]);

/**
 * Takes what is personal or secret out of what people wrote. A digest of the original is kept beside it, so that whoever
 * holds that can prove it. A signed statement stays whole: without a word of it nobody could check its signature.
 */
export function freeTextFilter(sha256: Sha256): (event: AuditEvent) => Promise<AuditEvent> {
  let redactor: Promise<Redactor> | undefined;
  return async (event) => {
    const field = FREE_TEXT.get(event.type);
    const original = field && event.detail[field];
    if (!field || typeof original !== 'string') return event;
    const { text } = (await (redactor ??= loadRedactor())).redact(original);
    if (text === original) return event;
    return { ...event, detail: { ...event.detail, [field]: text, [`${field}Digest`]: sha256(original) } };
  };
}

/** Loaded with the first text: what it knows of telephone numbers takes room that most workers never need. */
async function loadRedactor(): Promise<Redactor> {
  const { createRedactor } = await import('../../domain/redact/redactor.ts');
  return createRedactor({ pii: 'mask', secrets: 'mask', privateIps: 'keep', phoneCountries: [] });
}
