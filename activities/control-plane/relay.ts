import { createPublicKey, verify } from 'node:crypto';
import { ConnectorError } from '../../domain/errors.ts';
import type { SignedAlert } from '../../domain/signed-alert.ts';
import { alertText, signedAlertSchema } from '../../domain/signed-alert.ts';
import { toApplicationFailure } from '../failure.ts';
import type { ControlPlane } from './client.ts';

/** What the processes that speak to the control plane do for those that do not. */
export interface RelayActivities {
  /** Delivers an alert of another process of this cluster. */
  deliverAlert(signed: SignedAlert): Promise<void>;
}

export interface RelayDeps {
  readonly clusterId: string;
  /** PEM, of the key that all processes of the cluster sign with. */
  readonly publicKeyPem: string;
  readonly controlPlane: Pick<ControlPlane, 'signal'>;
}

export function createRelayActivities(
  deps: RelayDeps,
): RelayActivities & Record<string, (input: SignedAlert) => unknown> {
  const { clusterId, controlPlane } = deps;
  const key = createPublicKey(deps.publicKeyPem);
  return {
    async deliverAlert(input) {
      try {
        const { data } = signedAlertSchema.safeParse(input);
        const signature = Buffer.from(data?.signature ?? '', 'base64');
        const isOurs = data && verify(null, Buffer.from(alertText(clusterId, data.alert)), key, signature);
        if (!isOurs) throw new ConnectorError('CALLER_UNTRUSTED', 'The alert is none of this cluster.');
        await controlPlane.signal({ clusterId, kind: 'alert', alert: data.alert });
      } catch (error) {
        throw toApplicationFailure(error);
      }
    },
  };
}
