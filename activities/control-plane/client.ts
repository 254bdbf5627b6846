import type { Answer, Heartbeat, Registration, Signal } from '../../domain/control-plane.ts';
import { heartbeatSchema, idempotencyKeyOf, registrationSchema } from '../../domain/control-plane.ts';
import type { Channel, ChannelOptions } from './channel.ts';
import { createChannel } from './channel.ts';

/** What a connector says to its control plane. All throw what `Channel.send` throws. */
export interface ControlPlane extends Pick<Channel, 'clockOffsetMs' | 'close'> {
  register(registration: Registration): Promise<Answer>;
  beat(heartbeat: Heartbeat): Promise<Answer>;
  /** Once it resolves the other side has it for good; sent twice it counts once. */
  signal(signal: Signal): Promise<Answer>;
}

export function createControlPlane(options: ChannelOptions): ControlPlane {
  const { send, clockOffsetMs, close } = createChannel(options);
  return {
    // Parsed on the way out too: nothing leaves the cluster that is not in the contract.
    register: (registration) =>
      send({ method: 'POST', path: '/register', body: registrationSchema.parse(registration) }),
    beat: (heartbeat) => send({ method: 'PUT', path: '/healthz', body: heartbeatSchema.parse(heartbeat) }),
    signal: (signal) =>
      send({ method: 'POST', path: '/signals', body: signal, idempotencyKey: idempotencyKeyOf(signal) }),
    clockOffsetMs,
    close,
  };
}
