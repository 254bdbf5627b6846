import { setTimeout as sleep } from 'node:timers/promises';

export interface Calling {
  /** How many have ended until now, either way. */
  readonly calls: number;
  readonly failures: readonly unknown[];
  /** Resolves when the last ones have ended. */
  stop(): Promise<void>;
}

const PAUSE_MS = 20;

/** Calls again and again, for whoever changes something meanwhile and wants no call to fail. */
export function callOverAndOver(call: () => Promise<unknown>, atOnce: number): Calling {
  const failures: unknown[] = [];
  let calls = 0;
  let isOver = false;
  const calling = async () => {
    while (!isOver) {
      await call().catch((error: unknown) => failures.push(error));
      calls += 1;
      await sleep(PAUSE_MS);
    }
  };
  const all = Promise.all(Array.from({ length: atOnce }, calling));
  return {
    get calls() {
      return calls;
    },
    failures,
    async stop() {
      isOver = true;
      await all;
    },
  };
}
