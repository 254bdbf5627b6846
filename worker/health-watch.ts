import type { Client } from '@temporalio/client';
import type { KeySource } from '../activities/sigstore/keys.ts';
import type { PolicySource } from '../activities/policy/load-policy.ts';
import { ConnectorError } from '../domain/errors.ts';
import type { FreezeState } from '../domain/freeze.ts';
import type { Finding, Health } from '../domain/health.ts';
import type { AuditState } from './audit-trail.ts';

export interface HealthSources {
  readonly client: Client;
  readonly keys: KeySource;
  readonly policy: PolicySource;
  readonly freeze: () => FreezeState;
  readonly audit: () => AuditState;
}

export interface HealthWatch {
  close(): void;
}

const EVERY_MS = 5_000;
const ANSWERED_WITHIN_MS = 3_000;

/** Looks now and then at the parts that nothing else reports on. Each look is on its own: one that hangs holds up no other. */
export async function watchHealth(health: Health, sources: HealthSources): Promise<HealthWatch> {
  const looks = Object.entries(looksAt(sources)).map(([name, look]) => {
    let isLooking = false;
    return async () => {
      if (isLooking) return;
      isLooking = true;
      health.report(name, await look().catch(findingOf));
      isLooking = false;
    };
  });
  const lookAtAll = () => Promise.all(looks.map((look) => look()));
  await lookAtAll();
  const timer = setInterval(() => void lookAtAll(), EVERY_MS).unref();
  return { close: () => clearInterval(timer) };
}

function looksAt({ client, keys, policy, freeze, audit }: HealthSources): Record<string, () => Promise<Finding>> {
  return {
    temporal: async () => {
      const ask = () => client.connection.workflowService.getSystemInfo({});
      await client.withDeadline(Date.now() + ANSWERED_WITHIN_MS, ask).catch((cause: unknown) => {
        throw new ConnectorError('TEMPORAL_UNAVAILABLE', '', { cause });
      });
      return OK;
    },
    // The watch of the freeze asks the API server all the time.
    kubernetes: async () => (freeze().state === 'unknown' ? { state: 'down', code: 'KUBERNETES_UNAVAILABLE' } : OK),
    freeze: async () => {
      const { state } = freeze();
      if (state === 'open') return OK;
      return { state: 'degraded', code: state === 'frozen' ? 'FROZEN' : 'FREEZE_UNKNOWN' };
    },
    'signing-keys': async () => {
      const [trusted, { policy: current }] = await Promise.all([keys.load(), policy()]);
      return trusted.length > 0 || current.signing.keyless.length > 0
        ? OK
        : { state: 'down', sentence: 'There is no signing key.' };
    },
    policy: async () => {
      const { approvals } = (await policy()).policy;
      return approvals.acceptAsserted ? { state: 'degraded', sentence: UNPROVEN_VOTES } : OK;
    },
    'audit-log': async () => (audit().isWritten ? OK : { state: 'down', code: 'AUDIT_UNAVAILABLE' }),
    'audit-bucket': async () => {
      const { bucket } = audit();
      if (!bucket) return { state: 'degraded', sentence: 'No bucket is set: the audit log is on one disk only.' };
      if (bucket.failingSince !== undefined) return { state: 'degraded', code: 'S3_UNAVAILABLE' };
      if (bucket.objectLock === false) return { state: 'degraded', sentence: 'The audit bucket has no Object Lock.' };
      return OK;
    },
  };
}

const OK: Finding = { state: 'ok' };
const UNPROVEN_VOTES = 'Votes count that prove nothing about who sent them (approvals.acceptAsserted).';

function findingOf(error: unknown): Finding {
  return { state: 'down', code: error instanceof ConnectorError ? error.code : 'INTERNAL' };
}
