import type { Client } from '@temporalio/client';
import type { KeySource } from '../activities/sigstore/keys.ts';
import type { PolicySource } from '../activities/policy/load-policy.ts';
import { ConnectorError } from '../domain/errors.ts';
import type { FreezeState } from '../domain/freeze.ts';
import type { Finding, Health, PartName } from '../domain/health.ts';
import type { AuditState } from './audit-trail.ts';

export interface HealthSources {
  readonly client: Client;
  readonly audit: () => AuditState;
  /** Reads something of the connector's own from the API server. */
  readonly askKubernetes: () => Promise<unknown>;
}

export interface ExecutionHealthSources {
  readonly keys: KeySource;
  readonly policy: PolicySource;
  readonly freeze: () => FreezeState;
}

export interface HealthWatch {
  close(): void;
}

const EVERY_MS = 5_000;
/** Keys are secrets that are read, and each reading is an entry of the audit log: whoever needs them reads them anyway. */
const KEYS_EVERY_MS = 5 * 60_000;
/** Of a part that is not well, at the latest: it should not be believed to be ill for longer than it is. */
const AGAIN_WITHIN_MS = 30_000;
const ANSWERED_WITHIN_MS = 3_000;

export interface Look {
  readonly everyMs: number;
  readonly look: () => Promise<Finding>;
}

/** By the name of the part. */
export type Looks = Readonly<Partial<Record<PartName, Look>>>;

/** Looks now and then at the parts that nothing else reports on. Each look is on its own: one that hangs holds up no other. */
export async function watchHealth(health: Health, looks: Looks): Promise<HealthWatch> {
  const timers = new Map<PartName, NodeJS.Timeout>();
  let isClosed = false;
  const lookAt = async (name: PartName, one: Look): Promise<void> => {
    const finding = await one.look().catch(findingOf);
    health.report(name, finding);
    if (isClosed) return;
    const waitMs = finding.state === 'ok' ? one.everyMs : Math.min(one.everyMs, AGAIN_WITHIN_MS);
    timers.set(name, setTimeout(() => void lookAt(name, one), waitMs).unref());
  };
  const all = Object.entries(looks) as [PartName, Look][]; // which is what it has
  await Promise.all(all.map(([name, one]) => lookAt(name, one)));
  return {
    close() {
      isClosed = true;
      for (const timer of timers.values()) clearTimeout(timer);
    },
  };
}

/** What every worker stands on. */
export function commonLooks({ client, audit, askKubernetes }: HealthSources): Looks {
  return {
    temporal: often(async () => {
      const ask = () => client.connection.workflowService.getSystemInfo({});
      await client.withDeadline(Date.now() + ANSWERED_WITHIN_MS, ask).catch((cause: unknown) => {
        throw new ConnectorError('TEMPORAL_UNAVAILABLE', '', { cause });
      });
      return OK;
    }),
    kubernetes: often(async () => {
      await askKubernetes();
      return OK;
    }),
    'audit-log': often(async () => (audit().isWritten ? OK : { state: 'down', code: 'AUDIT_UNAVAILABLE' })),
    'audit-bucket': often(async () => {
      const { bucket } = audit();
      if (!bucket) return { state: 'degraded', sentence: 'No bucket is set: the audit log is on one disk only.' };
      if (bucket.failingSince !== undefined) return { state: 'degraded', code: 'S3_UNAVAILABLE' };
      if (bucket.objectLock === false) return { state: 'degraded', sentence: 'The audit bucket has no Object Lock.' };
      return OK;
    }),
  };
}

/** What packages are executed with. */
export function executionLooks({ keys, policy, freeze }: ExecutionHealthSources): Looks {
  return {
    // The watch of the freeze asks the API server all the time.
    kubernetes: often(async () =>
      freeze().state === 'unknown' ? { state: 'down', code: 'KUBERNETES_UNAVAILABLE' } : OK,
    ),
    freeze: often(async () => {
      const { state } = freeze();
      if (state === 'open') return OK;
      return { state: 'degraded', code: state === 'frozen' ? 'FROZEN' : 'FREEZE_UNKNOWN' };
    }),
    'signing-keys': {
      everyMs: KEYS_EVERY_MS,
      look: async () => {
        if ((await keys.load()).length > 0) return OK;
        const isKeyless = await policy().then(
          (loaded) => loaded.policy.signing.keyless.length > 0,
          () => false,
        );
        return isKeyless ? OK : { state: 'down', sentence: 'There is no signing key.' };
      },
    },
    policy: often(async () => {
      const { approvals } = (await policy()).policy;
      return approvals.acceptAsserted ? { state: 'degraded', sentence: UNPROVEN_VOTES } : OK;
    }),
  };
}

function often(look: () => Promise<Finding>): Look {
  return { everyMs: EVERY_MS, look };
}

const OK: Finding = { state: 'ok' };
const UNPROVEN_VOTES = 'Votes count that prove nothing about who sent them (approvals.acceptAsserted).';

/** Reports how it went whenever keys are needed: what fails is known before the next look, and what works again too. */
export function reportKeys(source: KeySource, health: Health): KeySource {
  return {
    async load(options) {
      try {
        const keys = await source.load(options);
        if (keys.length > 0) health.report('signing-keys', OK);
        return keys;
      } catch (error) {
        health.report('signing-keys', findingOf(error));
        throw error;
      }
    },
  };
}

function findingOf(error: unknown): Finding {
  return { state: 'down', code: error instanceof ConnectorError ? error.code : 'INTERNAL' };
}
