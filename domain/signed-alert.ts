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

/**
 * What became of it, in the word of who took it to the control plane. It comes back through Temporal, where anybody could
 * answer instead: an alert that nobody delivered must not be forgotten.
 */
export const alertReceiptSchema = z.strictObject({
  outcome: z.enum(['delivered', 'refused']),
  /** Ed25519 over `receiptText`, base64. */
  signature: z.base64().max(128),
});
export type AlertReceipt = Readonly<z.infer<typeof alertReceiptSchema>>;

/** No signature over anything else can pass for one over an alert, or over a receipt. */
const CONTEXT = 'neuralops.io/alert/v1\n';
const RECEIPT_CONTEXT = 'neuralops.io/alert-receipt/v1\n';

/** What is signed: the context, then the RFC 8785 form of the cluster's id and the alert. */
export function alertText(clusterId: string, alert: Alert): string {
  return CONTEXT + canonicalJson({ clusterId, alert });
}

/** What is signed of a receipt: as above, with what became of the alert. */
export function receiptText(clusterId: string, alert: Alert, outcome: AlertReceipt['outcome']): string {
  return RECEIPT_CONTEXT + canonicalJson({ clusterId, alert, outcome });
}
