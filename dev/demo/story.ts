import { readFile } from 'node:fs/promises';
import { extname, join, relative } from 'node:path';
import type { ConnectorClient } from '../../client/connector-client.ts';
import { phaseText, planLines, progressText } from '../../client/cli/render.ts';
import type { PackedWpk } from '../../client/pack/pack.ts';
import { packWpk } from '../../client/pack/pack.ts';
import { readManifests } from '../../client/pack/read-manifests.ts';
import { generateKeyPair, signWpk } from '../../client/sign.ts';
import { ConnectorError } from '../../domain/errors.ts';
import type { Plan } from '../../domain/plan.ts';
import type { PackageResult } from '../../domain/status.ts';
import type { SignedWpk } from '../../domain/wpk.ts';
import type { PreparedConnector } from '../connector.ts';
import { run } from '../process.ts';
import type { TemporalService } from '../servers/temporal.ts';
import type { DemoCluster } from './cluster.ts';
import type { Stage } from './stage.ts';

const APPROVER = 'bob@example.com';
const AUTHOR = 'alice@example.com';
const HOUR_SECONDS = 3600;

export interface Scene {
  readonly stage: Stage;
  readonly cluster: DemoCluster;
  readonly connector: PreparedConnector;
  readonly temporal: TemporalService;
  readonly client: ConnectorClient;
  readonly signal: AbortSignal;
}

/** What the summary tells of a story. */
export interface Told {
  readonly wpkId: string;
  readonly phase: string;
  readonly planDigest: string;
  readonly risk: string;
  readonly objectsChanged: number;
}

/** The application as it runs before anybody proposes anything. */
export async function setScene({ stage, cluster }: Pick<Scene, 'stage' | 'cluster'>): Promise<void> {
  await stage.act(`An application runs in the namespace ${cluster.namespace}`, (tell) =>
    cluster.install(manifestFile('before'), tell),
  );
}

/** The main job: packed, signed, submitted, planned, approved by a signal, executed, read back. */
export async function tellMainStory(scene: Scene): Promise<Told> {
  const { stage, cluster, connector, client } = scene;
  const packed = await packChange(scene);
  const signed = await stage.act('Packed and signed a change, as a control plane would', async () =>
    sign(packed, connector.privateKeyPem),
  );
  const { steps } = packed.wpk;
  stage.show([
    `${packed.wpk.metadata.id}: ${steps.map(({ action }) => action).join(', then ')}; "${packed.wpk.reason}"`,
  ]);

  const { wpkId, workflowId } = await stage.act('Submitted it through the client library', () => client.submit(signed));
  const plan = await stage.act('The cluster verified the signature and made a plan', () => plannedBy(client, wpkId));
  stage.show(planLines(plan));

  await stage.act(`${APPROVER} approves exactly this plan, with a Temporal signal`, () =>
    approveBySignal(scene, workflowId, plan),
  );
  stage.command(
    `temporal workflow signal ${targetOf(scene.temporal).join(' ')} --workflow-id ${workflowId} --name approve --input '{"approver":"${APPROVER}","planDigest":"${plan.digest}"}'`,
  );

  const result = await stage.act('The connector planned again, compared, and executed', async (tell) => {
    for await (const view of client.watch(wpkId, { signal: scene.signal }))
      if (view.progress) tell(progressText(view.progress));
    return client.result(wpkId);
  });
  if (result.phase !== 'succeeded')
    throw new ConnectorError(result.error?.code ?? 'INTERNAL', `The package ended as ${result.phase}.`);
  stage.show(outcomeLines(result));

  const { command, lines } = await cluster.look();
  if (command !== undefined) stage.command(command);
  stage.show(lines);
  return {
    wpkId,
    phase: result.phase,
    planDigest: plan.digest,
    risk: plan.risk.level,
    objectsChanged: countChanged(result),
  };
}

export interface Refusal {
  readonly case: string;
  readonly phase: string;
  readonly code: string | undefined;
}

/** Three packages that must not run. */
export async function tellRefusals(scene: Scene): Promise<Refusal[]> {
  const { connector } = scene;
  const good = sign(await packChange(scene), connector.privateKeyPem);
  const stranger = generateKeyPair();
  const past = new Date(Date.now() - 2 * HOUR_SECONDS * 1000);
  const cases: [string, SignedWpk][] = [
    ['one bit of the payload changed', { ...good, payload: flipBit(good.payload) }],
    ['signed by an unknown key', sign(await packChange(scene), stranger.privateKeyPem)],
    ['expired an hour ago', sign(await packChange(scene, past), connector.privateKeyPem)],
  ];
  const refusals: Refusal[] = [];
  for (const [name, signed] of cases) refusals.push(await tellRefusal(scene, name, signed));
  return refusals;
}

async function tellRefusal({ stage, client }: Scene, name: string, signed: SignedWpk): Promise<Refusal> {
  const result = await stage.act(`A package with a flaw: ${name}`, async () => {
    const { wpkId } = await client.submit(signed);
    return client.result(wpkId);
  });
  stage.show([`${phaseText(result.phase)}  ${result.error?.code}: ${result.error?.message}`]);
  if (result.phase !== 'denied')
    throw new ConnectorError('INTERNAL', `It should have been denied and ended as ${result.phase}.`);
  return { case: name, phase: result.phase, code: result.error?.code };
}

/** Verifies the audit log with the command that an auditor would use. */
export async function verifyAudit({
  stage,
  connector,
  signal,
}: Pick<Scene, 'stage' | 'connector' | 'signal'>): Promise<number> {
  const byoc = join(import.meta.dirname, '..', '..', 'client', 'cli', `main${extname(import.meta.filename)}`);
  const verify = (...args: string[]) =>
    run(process.execPath, [byoc, 'audit', 'verify', connector.auditDir, ...args], {
      env: { PATH: '/usr/bin:/bin' },
      signal,
    });
  const said = await stage.act('Verified the audit log, offline', () => verify());
  stage.command(`byoc audit verify ${relative(process.cwd(), connector.auditDir)}`);
  stage.show(said.trimEnd().split('\n'));
  const report = JSON.parse(await verify('-o', 'json')) as { chains: { entries: number }[] };
  return report.chains.reduce((sum, { entries }) => sum + entries, 0);
}

async function packChange({ cluster, connector }: Scene, notBefore = new Date()): Promise<PackedWpk> {
  const { namespace } = cluster;
  const file = manifestFile('change');
  return packWpk({
    manifests: readManifests({ name: file, text: await readFile(file, 'utf8') }),
    restarts: [{ kind: 'Deployment', name: 'checkout', namespace }],
    name: 'checkout-1-5',
    playbook: { id: 'release', version: '1' },
    author: AUTHOR,
    clusterId: connector.clusterId,
    namespace,
    notBefore,
    validForSeconds: HOUR_SECONDS,
    sequence: Math.floor(Date.now() / 1000),
    risk: 'low',
    reason: 'checkout 1.5: longer payment time-out, more memory, autoscaling',
    waitSeconds: 120,
    onFailure: 'halt',
  });
}

async function plannedBy(client: ConnectorClient, wpkId: string): Promise<Plan> {
  for await (const view of client.watch(wpkId)) {
    if (view.error) throw new ConnectorError(view.error.code, view.error.message);
    if (view.phase === 'awaiting-approval') break;
  }
  const plan = await client.plan(wpkId);
  if (!plan) throw new ConnectorError('INTERNAL', 'The package waits for approval without a plan.');
  return plan;
}

async function approveBySignal({ temporal, signal }: Scene, workflowId: string, plan: Plan): Promise<void> {
  const argument = JSON.stringify({ approver: APPROVER, planDigest: plan.digest });
  const target = [...targetOf(temporal), '--namespace', temporal.namespace, '--workflow-id', workflowId];
  const env = { PATH: '/usr/bin:/bin', HOME: '/nonexistent' };
  await run(temporal.bin, ['workflow', 'signal', ...target, '--name', 'approve', '--input', argument], { env, signal });
}

/** Where Temporal is, as its own command takes it; files as they are found from here. */
function targetOf({ address, caFile, certFile, keyFile }: Scene['temporal']): string[] {
  const files = { '--tls-ca-path': caFile, '--tls-cert-path': certFile, '--tls-key-path': keyFile };
  const flags = Object.entries(files).flatMap(([flag, path]) => [flag, relative(process.cwd(), path)]);
  return ['--address', address, ...flags];
}

function sign({ payload }: PackedWpk, privateKeyPem: string): SignedWpk {
  return { payload: Buffer.from(payload).toString('base64'), bundle: signWpk(payload, privateKeyPem) };
}

function flipBit(payload: string): string {
  const bytes = Buffer.from(payload, 'base64');
  bytes.writeUInt8(bytes.readUInt8(100) ^ 1, 100);
  return bytes.toString('base64');
}

function outcomeLines({ report }: PackageResult): string[] {
  return (report?.steps ?? []).map(
    ({ id, action, outcome, objects }) =>
      `step ${id}: ${action} ${outcome}, ${objects.length} ${objects.length === 1 ? 'object' : 'objects'}`,
  );
}

function countChanged({ report }: PackageResult): number {
  const objects = (report?.steps ?? []).flatMap((step) => step.objects);
  return objects.filter(({ change }) => change !== 'unchanged').length;
}

function manifestFile(name: 'before' | 'change'): string {
  return join(import.meta.dirname, `${name}.yaml`);
}
