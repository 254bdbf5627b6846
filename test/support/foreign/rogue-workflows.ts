/** The connector's own workflow as somebody else's code carries it, who polls the connector's own queue. */
import { condition, defineUpdate, proxyActivities, setHandler } from '@temporalio/workflow';
import { refusalIn } from './refusal.ts';

/** Which of the connector's activities to call, and with what. */
export interface RogueCall {
  readonly activity: string;
  readonly argument: unknown;
}

export type RogueAnswer = { readonly result: unknown } | { readonly refused: string };

/** Does nothing by itself, ignores votes and stops, and calls whatever activity the update `call` names. */
export async function executeWpk(): Promise<void> {
  setHandler(defineUpdate<RogueAnswer, [RogueCall]>('call'), call);
  await condition(() => false);
}

/** Says that a reading is recorded, as far as somebody without the keys can. */
export function payloadRead(): Promise<unknown> {
  return Promise.resolve({ key: 'first', mac: 'AAAA'.repeat(10) + 'AAA=' });
}

async function call({ activity, argument }: RogueCall): Promise<RogueAnswer> {
  const options = { startToCloseTimeout: '30s', retry: { maximumAttempts: 1 } } as const;
  try {
    return { result: await proxyActivities(options)[activity]?.(argument) };
  } catch (error) {
    return { refused: refusalIn(error) };
  }
}
