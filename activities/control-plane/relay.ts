import { createPublicKey, verify } from 'node:crypto';
import type { HeadKey } from '../../domain/audit-head.ts';
import { ConnectorError } from '../../domain/errors.ts';
import type { Alert } from '../../domain/control-plane.ts';
import type { AlertReceipt, SignedAlert } from '../../domain/signed-alert.ts';
import { alertText, receiptText, signedAlertSchema } from '../../domain/signed-alert.ts';
import { toApplicationFailure } from '../failure.ts';
import type { ControlPlane } from './client.ts';

/** What the processes that speak to the control plane do for those that do not. */
export interface RelayActivities {
  /** Delivers an alert of another process of this cluster, and says so. Throws where that may come to something later. */
  deliverAlert(signed: SignedAlert): Promise<AlertReceipt>;
}

export interface RelayDeps {
  readonly clusterId: string;
  /** PEM, of the key that all processes of the cluster sign with. */
  readonly publicKeyPem: string;
  readonly sign: HeadKey['sign'];
  readonly controlPlane: Pick<ControlPlane, 'signal'>;
}

export function createRelayActivities(
  deps: RelayDeps,
): RelayActivities & Record<string, (input: SignedAlert) => unknown> {
  const { clusterId, controlPlane, sign } = deps;
  const isSigned = verifierOf(deps.publicKeyPem);
  const deliver = async (alert: Alert): Promise<AlertReceipt['outcome']> => {
    try {
      await controlPlane.signal({ clusterId, kind: 'alert', alert });
      return 'delivered';
    } catch (error) {
      const code = error instanceof ConnectorError ? error.code : 'INTERNAL';
      if (code === 'CONTROL_PLANE_CONFLICT') return 'delivered'; // another process has told of the same
      if (code === 'CONTROL_PLANE_REFUSED') return 'refused';
      throw error;
    }
  };
  return {
    async deliverAlert(input) {
      try {
        const { data } = signedAlertSchema.safeParse(input);
        const isOurs = data && isSigned(alertText(clusterId, data.alert), data.signature);
        if (!isOurs) throw new ConnectorError('CALLER_UNTRUSTED', 'The alert is none of this cluster.');
        const outcome = await deliver(data.alert);
        return { outcome, signature: sign(receiptText(clusterId, data.alert, outcome)) };
      } catch (error) {
        throw toApplicationFailure(error);
      }
    },
  };
}

/** Whether a text was signed (base64) by the connector itself, whose key this is in PEM. */
export function verifierOf(publicKeyPem: string): (text: string, signature: string) => boolean {
  const key = createPublicKey(publicKeyPem);
  return (text, signature) => verify(null, Buffer.from(text), key, Buffer.from(signature, 'base64'));
}
