import type { LinkActivities } from '../activities/control-plane/link.ts';
import type { HealthReport } from '../domain/agent-api.ts';
import { ConnectorError } from '../domain/errors.ts';

type Registration = NonNullable<HealthReport['registration']>;

/**
 * What this process knows of the cluster's registration, by the answers that it got itself: another one may have been
 * told more. Silence changes nothing: that the control plane is away does not take a registration back.
 */
export class RegistrationWatch {
  #state: Registration['state'] = 'unknown';
  #registeredAt: string | undefined;
  #beatAt: string | undefined;

  answered(activity: keyof LinkActivities, now: Date): void {
    this.#state = 'registered'; // the beat of a cluster that it does not know is refused
    if (activity === 'registerCluster') this.#registeredAt = now.toISOString();
    else this.#beatAt = now.toISOString();
  }

  failed(error: unknown): void {
    const isUnknown = error instanceof ConnectorError && error.code === 'CONTROL_PLANE_NOT_REGISTERED';
    if (isUnknown) this.#state = 'unregistered';
  }

  report(): Registration {
    return {
      state: this.#state,
      ...(this.#registeredAt && { registeredAt: this.#registeredAt }),
      ...(this.#beatAt && { beatAt: this.#beatAt }),
    };
  }
}
