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
  readonly onAnswer: (activity: keyof LinkActivities, answer: Answer) => void;
  readonly onFailure: (activity: keyof LinkActivities, error: unknown) => void;
}

/** Nothing here takes input: whoever schedules them from elsewhere makes the cluster say once more what is true. */
export function createLinkActivities(deps: LinkDeps): LinkActivities & Record<string, (input: object) => unknown> {
  const { controlPlane, describeRegistration, describeHeartbeat, onAnswer, onFailure } = deps;

  /** What could not be described is no fault of the link. */
  async function say<T>(
    activity: keyof LinkActivities,
    describe: () => Promise<T>,
    send: (described: T) => Promise<Answer>,
  ): Promise<Answer> {
    const described = await describe();
    try {
      const answer = await send(described);
      onAnswer(activity, answer);
      return answer;
    } catch (error) {
      onFailure(activity, error);
      throw error;
    }
  }

  return {
    async registerCluster() {
      try {
        return await say('registerCluster', describeRegistration, controlPlane.register);
      } catch (error) {
        throw toApplicationFailure(error);
      }
    },
    async sendHeartbeat() {
      try {
        await say('sendHeartbeat', describeHeartbeat, controlPlane.beat);
        return { registered: true };
      } catch (error) {
        const isUnknown = error instanceof ConnectorError && error.code === 'CONTROL_PLANE_NOT_REGISTERED';
        if (isUnknown) return { registered: false };
        throw toApplicationFailure(error);
      }
    },
  };
}
