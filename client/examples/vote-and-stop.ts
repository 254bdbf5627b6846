/**
 * What a dashboard does with the library: shows what waits, sends a signed vote, stops.
 *
 *   BYOC_CLUSTER_ID=prod-eu-1 TEMPORAL_ADDRESS=… node client/examples/vote-and-stop.ts
 *   … vote-and-stop.ts approve ID bob@example.com bob.key
 *   … vote-and-stop.ts stop ID
 */
import { ConnectorClient } from '../connector-client.ts';
import { openSigner } from '../signer.ts';
import { signApproval } from '../vote.ts';

const [command = 'list', id = '', approver = '', keyFile = ''] = process.argv.slice(2);
const client = await ConnectorClient.connect(process.env['BYOC_CLUSTER_ID'] ?? '', process.env);
try {
  if (command === 'approve') {
    const [{ workflowId, runId }, plan] = await Promise.all([client.get(id), client.plan(id)]);
    if (!plan) throw new Error(`${id} has no plan yet`);
    // Whoever signs should have read the plan: the signature covers exactly this one.
    const signer = await openSigner(keyFile, process.env);
    const vote = await signApproval({ workflowId, runId, plan }, { approver, signer });
    const { missing = 0 } = await client.approve(id, vote);
    console.log(`approved ${plan.digest}; ${missing} more needed`);
  } else if (command === 'stop') {
    const { phase } = await client.stop(id);
    console.log(phase);
  } else {
    for (const { wpkId, phase, risk, playbook } of await client.list({ limit: 20 })) {
      console.log([wpkId, phase ?? '-', risk ?? '-', playbook ?? '-'].join('  '));
    }
  }
} finally {
  await client.close();
}
