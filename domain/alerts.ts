import type { AuditEvent } from './audit.ts';
import type { Alert } from './control-plane.ts';

/**
 * Alerts are a view of the audit log: what somebody should know of is recorded there, and each entry of such a type raises
 * one. So an alert can be looked up in the log, and no part of the connector decides by itself whom to wake.
 */

export const ALERTS = {
  'authentication-failed': { severity: 'critical', summary: 'Somebody was not accepted for who they say they are.' },
  'package-denied': { severity: 'warning', summary: 'A work package was denied.' },
  'package-failed': { severity: 'critical', summary: 'A work package failed, or its run was cut off from outside.' },
  'control-plane-lost': { severity: 'critical', summary: 'The control plane takes no heartbeats.' },
  'part-unhealthy': { severity: 'warning', summary: 'A part that the connector stands on does not work as it should.' },
  'certificate-expiring': { severity: 'warning', summary: 'A certificate ends soon, or has ended.' },
  frozen: { severity: 'critical', summary: 'Execution is frozen in the whole cluster.' },
  'key-revoked': { severity: 'warning', summary: 'A key was revoked.' },
  'policy-broken': { severity: 'critical', summary: 'The policy cannot be read, so nothing runs.' },
  'audit-not-uploaded': { severity: 'critical', summary: 'The audit log has waited too long for its bucket.' },
  'audit-lost': { severity: 'critical', summary: 'A disk lost the end of an audit log; a new chain began.' },
  'audit-broken': { severity: 'critical', summary: 'The audit log and its bucket contradict each other.' },
  'metrics-dropped': { severity: 'warning', summary: 'Metrics were given up before the Insight Engine had them.' },
  'audit-unavailable': { severity: 'critical', summary: 'The audit log cannot be written, so nothing is executed.' },
} as const satisfies Record<string, Pick<Alert, 'severity' | 'summary'>>;

export type AlertType = keyof typeof ALERTS;

/** Which entries raise which alert. `call.refused` is told by what it leads to, except where nothing else comes of it. */
const BY_ENTRY: ReadonlyMap<string, AlertType> = new Map<string, AlertType>([
  ['authentication.failed', 'authentication-failed'],
  ['package.denied', 'package-denied'],
  ['package.failed', 'package-failed'],
  ['package.rolled-back', 'package-failed'],
  ['package.cut-off', 'package-failed'],
  ['link.lost', 'control-plane-lost'],
  ['part.unhealthy', 'part-unhealthy'],
  ['certificate.expiring', 'certificate-expiring'],
  ['certificate.unusable', 'part-unhealthy'],
  ['freeze.set', 'frozen'],
  ['key.revoked', 'key-revoked'],
  ['policy.broken', 'policy-broken'],
  ['audit.upload-late', 'audit-not-uploaded'],
  ['audit.chain-begun', 'audit-lost'],
  ['metrics.dropped', 'metrics-dropped'],
]);

/** The alert that an entry raises, if any. */
export function alertTypeOf({
  type,
  detail,
  outcome,
}: Pick<AuditEvent, 'type' | 'detail'> & Partial<Pick<AuditEvent, 'outcome'>>): AlertType | undefined {
  const failed = (isSo: boolean) => (isSo ? ('authentication-failed' as const) : undefined);
  switch (type) {
    case 'call.refused':
      return failed(detail['code'] === 'CALLER_UNTRUSTED');
    case 'vault.login-failed':
    case 'vault.token-refused': // while Vault is away nobody is refused anything
      return failed(detail['refused'] === true);
    case 'http.calls':
      return failed(rowsOf(detail).some((row) => memberOf(row, 'code') === 'CALLER_UNAUTHENTICATED'));
    case 'http.call':
      return outcome === 'refused' ? 'package-denied' : undefined;
    default:
      return BY_ENTRY.get(type);
  }
}

function rowsOf({ calls }: AuditEvent['detail']): readonly unknown[] {
  return Array.isArray(calls) ? calls : [];
}

/** The error code in an entry's detail, wherever its type has it. */
export function codeIn(detail: AuditEvent['detail']): string | undefined {
  const { code = memberOf(detail['error'], 'code') } = detail;
  return typeof code === 'string' ? code : undefined;
}

function memberOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}
