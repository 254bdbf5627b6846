/**
 * What a control plane does with the library: starts a package that is signed, and follows it to its end.
 *
 *   BYOC_CLUSTER_ID=prod-eu-1 TEMPORAL_ADDRESS=… node client/examples/follow-a-package.ts app.wpk.json
 *
 * The signature is in app.wpk.sigstore.json beside it, as cosign sign-blob --bundle and byoc pack write it. It prints a line
 * for each change; people approve meanwhile, in the Temporal UI or by byoc approve.
 */
import { readFile } from 'node:fs/promises';
import { ConnectorClient } from '../connector-client.ts';
import { ConnectorError } from '../../domain/errors.ts';

const [file = ''] = process.argv.slice(2);
const payload = await readFile(file);
const bundle: unknown = JSON.parse(await readFile(file.replace(/\.json$/, '.sigstore.json'), 'utf8'));

const client = await ConnectorClient.connect(process.env['BYOC_CLUSTER_ID'] ?? '', process.env);
try {
  const { wpkId } = await client.submit({ payload: payload.toString('base64'), bundle });
  console.log(`${wpkId} started`);
  let phase = '';
  for await (const view of client.watch(wpkId)) {
    if (view.phase === phase) continue;
    phase = view.phase;
    console.log(phase === 'awaiting-approval' ? `${phase} of plan ${view.planDigest}` : phase);
  }
} catch (error) {
  if (!(error instanceof ConnectorError)) throw error;
  console.error(`${error.code}: ${error.message}`); // decide by the code; messages may change
  process.exitCode = error.traits.exitCode;
} finally {
  await client.close();
}
