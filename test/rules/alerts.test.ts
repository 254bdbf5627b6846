import { globSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { alertTypeOf, ALERTS, codeIn } from '../../domain/alerts.ts';
import { AUDIT_CATALOGUE, isAuditEventType } from '../../domain/audit-catalogue.ts';

// R24

describe('an entry of the audit log', () => {
  it.each([
    ['package.denied', 'package-denied'],
    ['package.failed', 'package-failed'],
    ['package.rolled-back', 'package-failed'],
    ['package.cut-off', 'package-failed'],
    ['authentication.failed', 'authentication-failed'],
    ['link.lost', 'control-plane-lost'],
    ['part.unhealthy', 'part-unhealthy'],
    ['certificate.unusable', 'part-unhealthy'],
    ['certificate.expiring', 'certificate-expiring'],
    ['key.revoked', 'key-revoked'],
    ['policy.broken', 'policy-broken'],
    ['audit.upload-late', 'audit-not-uploaded'],
    ['audit.chain-begun', 'audit-lost'],
    ['metrics.dropped', 'metrics-dropped'],
  ] as const)('of type %s raises the alert %s', (type, alert) => {
    expect(alertTypeOf({ type, detail: {} })).toBe(alert);
  });

  it('of a refused call raises one only where the caller was nobody that may call', () => {
    const refused = (code: string) => alertTypeOf({ type: 'call.refused', detail: { code } });
    expect([refused('CALLER_UNTRUSTED'), refused('SIGNATURE_INVALID')]).toEqual(['authentication-failed', undefined]);
  });

  it.each(['vault.login-failed', 'vault.token-refused'] as const)('of %s raises one where Vault said no', (type) => {
    const told = (refused: boolean) => alertTypeOf({ type, detail: { refused } });
    expect([told(true), told(false)]).toEqual(['authentication-failed', undefined]);
  });

  it('of calls of the agent raises one where somebody was refused', () => {
    const calls = (code?: string) => alertTypeOf({ type: 'http.calls', detail: { calls: [{ status: 401, code }] } });
    expect([calls('CALLER_UNAUTHENTICATED'), calls()]).toEqual(['authentication-failed', undefined]);
    const call = (outcome: 'refused' | 'succeeded') => alertTypeOf({ type: 'http.call', detail: {}, outcome });
    expect([call('refused'), call('succeeded')]).toEqual(['package-denied', undefined]);
  });

  it('of any other type raises none', () => {
    const silent = ['package.succeeded', 'worker.started', 'vote.recorded', 'audit.uploaded', 'link.restored'];
    for (const type of silent.filter(isAuditEventType)) expect(alertTypeOf({ type, detail: {} })).toBeUndefined();
    expect(silent.filter((type) => !(type in AUDIT_CATALOGUE))).toEqual([]);
  });

  it('has its code where its type has it', () => {
    expect(codeIn({ code: 'A' })).toBe('A');
    expect(codeIn({ error: { code: 'B', message: '' } })).toBe('B');
    expect(codeIn({ error: 'C' })).toBeUndefined();
  });
});

describe('an alert', () => {
  it.each(Object.entries(ALERTS))('of type %s is told in one sentence', (_, { summary }) => {
    expect(summary).toMatch(/^[A-Z][^.]+\.$/);
  });
});

describe('docs/alerts.md', () => {
  it('explains each name of an alert that a log line may have and that no other side gets', async () => {
    const root = join(import.meta.dirname, '../..');
    const sources = globSync('worker/**/*.ts', { cwd: root }).map((file) => readFileSync(join(root, file), 'utf8'));
    const logged = sources.flatMap((text) =>
      [...text.matchAll(/\balert: ((?:isRefusal \? )?'[^\n]*)/g)].flatMap(([, rest = '']) =>
        [...(rest.split(/, \w+[:,]| \}/)[0] ?? '').matchAll(/'([a-z-]+)'/g)].map(([, name = '']) => name),
      ),
    );
    expect(logged).toEqual(expect.arrayContaining(['audit-broken', 'vault-unavailable', 'metrics-unread']));
    const page = await readFile(join(root, 'docs/alerts.md'), 'utf8');
    const [, table = ''] = page.split('## Names in the log');
    const explained = [...table.matchAll(/^\| (`[^|]+) \|/gm)].flatMap(
      ([, cell = '']) => cell.match(/[a-z-]{3,}/g) ?? [],
    );
    expect(logged.filter((name) => !(name in ALERTS) && !explained.includes(name))).toEqual([]);
    expect(explained.filter((name) => name in ALERTS)).toEqual([]);
  });
});

describe('docs/control-plane.md', () => {
  it('shows every alert with its severity', async () => {
    const text = await readFile(join(import.meta.dirname, '../../docs/control-plane.md'), 'utf8');
    const shown = [...text.matchAll(/^\| `([a-z-]+)` \| (critical|warning|info) \|/gm)].map(([, type, severity]) => [
      type,
      severity,
    ]);
    expect(shown).toEqual(Object.entries(ALERTS).map(([type, { severity }]) => [type, severity]));
  });
});
