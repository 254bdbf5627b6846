import type { Vault } from '../activities/vault/vault.ts';
import type { AuditTrail } from './audit-trail.ts';
import type { Looks } from './health-watch.ts';

export interface PartLookSources {
  readonly audit: Pick<AuditTrail, 'hasRoom'>;
  /** One for each login of this process. */
  readonly vaults: readonly Pick<Vault, 'check'>[];
}

const EVERY_MS = 15_000;
const FULL = 'The disk has no room for what a package would have to record, so nothing is executed.';

/** Looks at parts that are used too rarely for whoever uses them to say how they are. */
export function partLooks({ audit, vaults }: PartLookSources): Looks {
  return {
    // A full disk is found out when something is to be executed; it can be told before.
    disk: {
      everyMs: EVERY_MS,
      look: async () => ((await audit.hasRoom()) ? { state: 'ok' } : { state: 'down', sentence: FULL }),
    },
    // Vault is needed when a package comes and when a token runs out; people want to know before that it is away.
    ...(vaults.length > 0 && {
      vault: {
        everyMs: EVERY_MS,
        look: async () => {
          await Promise.all(vaults.map((vault) => vault.check()));
          return { state: 'ok' };
        },
      },
    }),
  };
}
