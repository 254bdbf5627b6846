import type { Worker } from '@temporalio/worker';
import type { HealthReport } from '../../domain/agent-api.ts';
import type { FreezeState } from '../../domain/freeze.ts';
import type { Intake } from '../agent/intake.ts';
import type { Looks } from '../health-watch.ts';

/** What a process does as one of its roles: a worker on the role's task queue, and what that stands on. */
export interface RoleRun {
  /** The process is ready while all of them run. */
  readonly worker: Pick<Worker, 'getState' | 'getStatus'>;
  /** The parts that only this role looks at. */
  readonly looks?: Looks;
  /** The emergency stop, where the role knows of it. */
  readonly freeze?: () => FreezeState;
  /** Whether the control plane knows the cluster, where the role tells it. */
  readonly registration?: () => NonNullable<HealthReport['registration']>;
  /** Where the role takes packages in. */
  readonly intake?: Intake;
  /** Works until it is shut down, or the process is told to end. */
  run(): Promise<void>;
  shutdown(): void;
  /** Frees what is the role's own, once it has run. */
  close(): Promise<void>;
}
