import type { Command } from 'commander';

import { registerAuditHead } from './audit-head.ts';
import { registerAuditReading } from './audit-reading.ts';
import { registerAuditVerify } from './audit-verify.ts';

export function registerAudit(program: Command): void {
  const audit = program.command('audit').description('verify and read the audit log');
  registerAuditVerify(audit);
  registerAuditReading(audit);
  registerAuditHead(audit);
}
