import type { Admission } from '../../activities/package/admission.ts';
import type { Claims } from '../../activities/package/claims.ts';
import type { ConnectorClient } from '../../client/connector-client.ts';

/** What packages are taken in with: for the role `execution` alone. */
export interface Intake {
  readonly admit: Admission;
  readonly claims: Pick<Claims, 'read'>;
  /** Starts their runs, encrypted as what the worker itself says is. */
  readonly client: ConnectorClient;
}
