import type { Logger } from 'pino';
import type { Vault, VaultEvent, VaultSettings } from '../activities/vault/vault.ts';
import { createVault } from '../activities/vault/vault.ts';
import { assertNever } from '../domain/errors.ts';
import type { VaultRole } from '../domain/vault-setup.ts';
import type { Record } from './audit-watch.ts';
import { watchVault } from './audit-watch.ts';

export interface OpenVaultOptions {
  readonly settings: VaultSettings;
  readonly role: VaultRole;
  readonly record: Record;
  readonly logger: Logger;
}

/**
 * Opens Vault for a role: whatever happens there is in the audit log before it has an effect, and what fails is an alert.
 * It logs in at once, so that what is wrong with the login shows at start; the worker starts all the same.
 */
export function openVault({ settings, role, record, logger }: OpenVaultOptions): Vault {
  const vault = watchVault(createVault(settings, { onEvent: tellVault({ role, record, logger }) }), record);
  vault.logIn().catch(() => undefined);
  return vault;
}

function tellVault({ role, record, logger }: Omit<OpenVaultOptions, 'settings'>) {
  return async (event: VaultEvent): Promise<void> => {
    switch (event.kind) {
      case 'logged-in': {
        const { why, ttlMs, entityId } = event;
        logger.info({ role, why }, 'logged in to Vault');
        const ttlSeconds = Number.isFinite(ttlMs) ? Math.round(ttlMs / 1000) : undefined;
        return record('vault.logged-in', {
          role,
          why,
          ...(ttlSeconds !== undefined && { ttlSeconds }),
          ...(entityId && { entityId }),
        });
      }
      case 'login-failed': {
        const { isRefusal, said } = event;
        logger.error(
          { alert: isRefusal ? 'vault-login-refused' : 'vault-unavailable', role, said },
          'no login to Vault',
        );
        return record(
          'vault.login-failed',
          { role, refused: isRefusal, said },
          { outcome: isRefusal ? 'refused' : 'failed' },
        );
      }
      case 'renewal-failed':
        logger.warn({ role, said: event.said }, 'the token of Vault could not be renewed');
        return record('vault.renewal-failed', { role, said: event.said }, { outcome: 'failed' });
      case 'token-issued':
        return record('vault.token-issued', { role: event.role, ttlSeconds: Math.round(event.ttlMs / 1000) });
      case 'token-refused': {
        const { isRefusal: refused, said } = event;
        logger.error({ alert: 'vault-token-refused', role: event.role, said }, 'Vault issued no JWT');
        return record(
          'vault.token-refused',
          { role: event.role, refused, said },
          { outcome: refused ? 'refused' : 'failed' },
        );
      }
      default:
        return assertNever(event);
    }
  };
}
