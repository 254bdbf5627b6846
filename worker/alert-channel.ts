import { createControlPlane } from '../activities/control-plane/client.ts';
import type { Foundation } from './foundation.ts';
import { readPem } from './pem-file.ts';

/**
 * The way of alerts to the control plane from a process that is not the one that registers: by itself, with JWTs that are
 * good for nothing else. Through another process they would wait for whatever they may be about.
 */
export async function openAlertChannel({ config, vaults, alerts, closeLast, logger }: Foundation): Promise<void> {
  const { controlPlane: settings, registrationVault } = config;
  if (!settings || registrationVault) return; // those of a process that registers go with its link
  const [vault] = vaults;
  if (!vault)
    return logger.warn('without a login at Vault alerts are counted and recorded, but not brought to anybody');

  const ca = settings.caPath === undefined ? undefined : await readPem('BYOC_CONTROL_PLANE_CA', settings.caPath);
  const controlPlane = createControlPlane({ url: settings.url, ca, identity: vault.identity('alerts') });
  alerts.deliverThrough(controlPlane);
  closeLast(() => controlPlane.close());
}
