import { generateKeyPairSync, sign } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { WorkflowFailedError } from '@temporalio/client';
import type { Client } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import { createRelayActivities } from '../../activities/control-plane/relay.ts';
import type { Alert } from '../../domain/control-plane.ts';
import { ConnectorError } from '../../domain/errors.ts';
import type { SignedAlert } from '../../domain/signed-alert.ts';
import { receiptText } from '../../domain/signed-alert.ts';
import { createAlertRelay } from '../../worker/alert-relay.ts';
import { asyncErrorOf } from '../support/expect-code.ts';

const clusterId = 'prod-eu-1';
const alert: Alert = {
  id: 'a'.repeat(64),
  type: 'package-denied',
  severity: 'warning',
  at: '2026-12-01T00:00:00.000Z',
  writer: 'one',
  summary: 'A package was denied.',
};

function keyPair() {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  return {
    publicKeyPem: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    sign: (text: string) => sign(null, Buffer.from(text), privateKey).toString('base64'),
  };
}
const ours = keyPair();

/** A Temporal in which somebody else answers, which the development server cannot be made to do for one call of many. */
const relayThrough = (answer: (signed: SignedAlert) => unknown) => {
  const client = {
    withDeadline: (_: number, call: () => unknown) => call(),
    workflow: {
      execute: (_: string, { args }: { args: [{ signed: SignedAlert }] }) =>
        Promise.resolve(args[0].signed).then(answer),
    },
  } as unknown as Client;
  const relay = createAlertRelay({ clusterId, client, workflowQueue: 'queue', ...ours });
  return () => relay.signal({ clusterId, kind: 'alert', alert });
};
/** What a process with the role registration makes of it, whose control plane answers so. */
const registration = (answer: () => Promise<object>) =>
  createRelayActivities({ clusterId, ...ours, controlPlane: { signal: answer } });

describe('an alert that goes through Temporal', () => {
  it('is done with once registration has delivered it', async () => {
    const { deliverAlert } = registration(() => Promise.resolve({}));
    await expect(relayThrough(deliverAlert)()).resolves.toEqual({});
  });

  it('is done with where the control plane knows it, and dropped where it does not take it', async () => {
    const known = registration(() => Promise.reject(new ConnectorError('CONTROL_PLANE_CONFLICT')));
    await expect(relayThrough(known.deliverAlert)()).resolves.toEqual({});
    const refused = registration(() => Promise.reject(new ConnectorError('CONTROL_PLANE_REFUSED')));
    expect(await asyncErrorOf(relayThrough(refused.deliverAlert))).toMatchObject({ code: 'CONTROL_PLANE_REFUSED' });
  });

  const signedBy = (key: typeof ours, outcome: 'delivered' | 'refused', other = alert) => ({
    outcome,
    signature: key.sign(receiptText(clusterId, other, outcome)),
  });
  const failed = (type: string) => () => {
    throw new WorkflowFailedError('failed', ApplicationFailure.create({ type }), 'MAXIMUM_ATTEMPTS_REACHED');
  };

  it.each<[string, () => unknown]>([
    ['nothing', () => undefined],
    ['what is no receipt', () => ({ outcome: 'delivered' })],
    ['a receipt that somebody else signed', () => signedBy(keyPair(), 'delivered')],
    ['a refusal that somebody else signed', () => signedBy(keyPair(), 'refused')],
    ['a receipt for another alert', () => signedBy(ours, 'delivered', { ...alert, id: 'b'.repeat(64) })],
    ['a receipt that was changed', () => ({ ...signedBy(ours, 'delivered'), outcome: 'refused' })],
    ['the alert itself', (signed?: SignedAlert) => ({ outcome: 'delivered', signature: signed?.signature })],
    ['the failure of a control plane that takes no such alert', failed('CONTROL_PLANE_REFUSED')],
    ['the failure of a control plane that has it', failed('CONTROL_PLANE_CONFLICT')],
  ])('goes on waiting where Temporal answers with %s', async (_, answer) => {
    expect(await asyncErrorOf(relayThrough(answer))).toMatchObject({ code: 'CONTROL_PLANE_UNAVAILABLE' });
  });
});
