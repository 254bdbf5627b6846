import { z } from 'zod';
import type { Alert } from './control-plane.ts';
import { alertSchema } from './control-plane.ts';
import { canonicalJson } from './digest.ts';

/**
 * An alert on its way through Temporal, from a process that knows no control plane to one that does. Anybody in the Temporal
 * namespace could send one: so it is signed with the key that audit heads are signed with, which only the connector has.
 */
export const signedAlertSchema = z.strictObject({
  alert: alertSchema,
  /** Ed25519 (RFC 8032) over `alertText`, base64. */
  signature: z.base64().max(128),
});
export type SignedAlert = Readonly<z.infer<typeof signedAlertSchema>>;

/** No signature over anything else can pass for one over an alert. */
const CONTEXT = 'neuralops.io/alert/v1\n';

/** What is signed: the context, then the RFC 8785 form of the cluster's id and the alert. */
export function alertText(clusterId: string, alert: Alert): string {
  return CONTEXT + canonicalJson({ clusterId, alert });
}
