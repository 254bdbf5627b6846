import type { ConnectorClient } from '../client/connector-client.ts';
import type { Plan } from '../domain/plan.ts';
import type { PackageResult } from '../domain/status.ts';
import { isEnd } from '../domain/status.ts';
import type { SignedWpk } from '../domain/wpk.ts';
import { buildWpk, sign } from '../test/support/packages.ts';
import type { Change } from './changes.ts';
import { PLAYBOOK } from './changes.ts';
import type { RunningConnector } from './connectors.ts';
import type { Contestant } from './interleave.ts';

/** Whether the policy or a person lets the package run; the person of the benchmark votes as soon as there is a plan. */
export type Approval = 'by-policy' | 'by-vote';

/** Times a change made through a connector: from the submission until its end is in the audit log and known here. */
export function packageRun(name: string, connector: RunningConnector, change: Change, approval: Approval): Contestant {
  let sequence = 0;
  return {
    name,
    prepare(round) {
      sequence += 1;
      const { clusterId, privateKeyPem } = connector;
      const wpk = buildWpk({
        clusterId,
        namespaces: [change.namespace],
        playbook: PLAYBOOK,
        sequence,
        steps: change.steps(round),
      });
      const signed = sign(wpk, privateKeyPem);
      return Promise.resolve(async () => {
        requireChanged(await runOne(connector, signed, approval), change, round);
      });
    },
  };
}

async function runOne({ client }: RunningConnector, signed: SignedWpk, approval: Approval): Promise<PackageResult> {
  const { wpkId } = await client.submit(signed);
  if (approval === 'by-vote') {
    const { digest: planDigest } = await planOf(client, wpkId);
    await client.approve(wpkId, { approver: 'bob@example.com', planDigest });
  }
  return client.result(wpkId);
}

/** The query is answered when a workflow task ends: when there is a plan, or after some seconds of planning. */
export async function planOf(client: ConnectorClient, wpkId: string): Promise<Plan> {
  for (;;) {
    const plan = await client.plan(wpkId);
    if (plan) return plan;
    const { phase, error } = await client.get(wpkId);
    if (isEnd(phase))
      throw new Error(`a package ended as ${phase} without a plan: ${error?.message ?? 'no reason given'}`);
  }
}

/** A run that did less than it should is no measurement. */
function requireChanged({ phase, report, error }: PackageResult, { objects }: Change, round: number): void {
  if (phase !== 'succeeded') throw new Error(`a package ended as ${phase}: ${error?.message ?? 'no reason given'}`);
  const wanted = round === 0 ? 'create' : 'update';
  const changed = report?.steps.flatMap((step) => step.objects).filter(({ change }) => change === wanted).length;
  if (changed !== objects) throw new Error(`a package changed ${changed ?? 0} objects instead of ${objects}`);
}
