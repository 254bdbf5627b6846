import type { ObjectRef } from '../../domain/plan.ts';
import type { StepAction } from '../../domain/wpk.ts';
import type { KubeObject } from './kube-object.ts';

/** What undoing one write needs: kept before it is sent, and only in the cluster, for Secrets are in clear here. */
export interface UndoEntry {
  readonly action: StepAction;
  readonly object: ObjectRef;
  /** Where the API server serves it. */
  readonly path: string;
  /** Absent where the write creates it. */
  readonly before?: KubeObject;
  /** What the write makes of it; absent where it deletes it. */
  readonly after?: KubeObject;
  /** Whether `after` is what the API server says, rather than what was worked out here. */
  readonly isExact: boolean;
}
