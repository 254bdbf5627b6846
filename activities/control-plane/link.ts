import type { Answer, Heartbeat, Registration } from '../../domain/control-plane.ts';
import { ConnectorError } from '../../domain/errors.ts';
import { toApplicationFailure } from '../failure.ts';
import type { ControlPlane } from './client.ts';

/** What is said to the control plane by schedule, whichever process of the cluster does it. */
export interface LinkActivities {
  /** Registers the cluster, or renews what is registered. */
  registerCluster(input: object): Promise<Answer>;
  /** One beat. `registered` is false where the control plane does not know the cluster, any more or yet. */
  sendHeartbeat(input: object): Promise<{ readonly registered: boolean }>;
}

export interface LinkDeps {
  readonly controlPlane: Pick<ControlPlane, 'register' | 'beat'>;
  readonly describeRegistration: () => Promise<Registration>;
  readonly describeHeartbeat: () => Promise<Heartbeat>;
  /** Told how each call went. */
  readonly onAnswer: (answer: Answer) => void;
  readonly onFailure: (activity: keyof LinkActivities, error: unknown) => void;
}

/** Nothing here takes input: whoever schedules them from elsewhere makes the cluster say once more what is true. */
export function createLinkActivities(deps: LinkDeps): LinkActivities & Record<string, (input: object) => unknown> {
  async function call<T>(activity: keyof LinkActivities, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      deps.onFailure(activity, error);
      throw toApplicationFailure(error);
    }
  }

  return {
    registerCluster: () =>
      call('registerCluster', async () => {
        const answer = await deps.controlPlane.register(await deps.describeRegistration());
        deps.onAnswer(answer);
        return answer;
      }),
    sendHeartbeat: () =>
      call('sendHeartbeat', async () => {
        try {
          deps.onAnswer(await deps.controlPlane.beat(await deps.describeHeartbeat()));
          return { registered: true };
        } catch (error) {
          if (error instanceof ConnectorError && error.code === 'CONTROL_PLANE_NOT_REGISTERED')
            return { registered: false };
          throw error;
        }
      }),
  };
}
