import { randomBytes } from 'node:crypto';
import { readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createHeadKey } from '../../activities/audit/head-key.ts';
import { openBucket } from '../../activities/s3/bucket.ts';
import type { AuditReport } from '../../client/audit-verify.ts';
import { rangeName } from '../../domain/audit.ts';
import type { SignedHead } from '../../domain/audit-head.ts';
import { signHead } from '../../domain/audit-head.ts';
import { scheduleIdOf } from '../../domain/names.ts';
import { TestConnector } from '../support/connector.ts';
import { describeOnSmallDisk, SmallDisk } from '../support/small-disk.ts';
import { until } from '../support/until.ts';

// R9, R18–R21, R36

const ALERTS_WITHIN_MS = 20_000;

/** Runs one package with a vote to its end. */
async function runOne(connector: TestConnector): Promise<string> {
  const { workflowId, wpkId, planDigest } = await connector.submitAndPlan();
  await connector.signalApproval(workflowId, { approver: 'bob@example.com', planDigest });
  expect(await connector.client.result(wpkId)).toMatchObject({ phase: 'succeeded' });
  return wpkId;
}

/** The heads that the cluster shows, once they reach the last entry on the disk. */
async function currentHeads(connector: TestConnector): Promise<SignedHead[]> {
  return until('the head to be published', async () => {
    const { code, stdout } = await connector.byoc('audit', 'head', '-o', 'json');
    if (code !== 0) return undefined;
    const heads = JSON.parse(stdout) as SignedHead[];
    const [last] = (await connector.audit()).slice(-1);
    return heads.some(({ head }) => head.seq === last?.seq) ? heads : undefined;
  });
}

const hasAlert = (connector: TestConnector, alert: string) =>
  until(
    `the alert ${alert}`,
    async () => (await connector.log()).some((line) => line['alert'] === alert),
    ALERTS_WITHIN_MS,
  );

describe('the audit trail of a worker', () => {
  let connector: TestConnector;
  let wpkId: string;
  let key: string;
  let heads: string;

  beforeAll(async () => {
    connector = await TestConnector.start();
    wpkId = await runOne(connector);
    heads = await connector.save('heads.json', JSON.stringify(await currentHeads(connector)));
    key = await connector.save('audit.pub', (await connector.byoc('audit', 'head', '--public-key')).stdout);
  });
  afterAll(() => connector.stop());

  it('says which policy and which keys hold, and each reading of secrets, before the package that needs them', async () => {
    const types = (await connector.audit()).map(({ type }) => type);
    const at = types.indexOf('package.verified');
    for (const type of ['worker.started', 'policy.loaded', 'key.loaded', 'secret.read'] as const) {
      expect([type, types.slice(0, at).includes(type)]).toEqual([type, true]);
    }
  });

  it('verifies on the disk against the head that is published in the cluster', async () => {
    const { code, stdout } = await connector.byoc(
      ...['audit', 'verify', '--key', key, '--head', heads, '-o', 'json', connector.prepared.auditDir],
    );
    const report = JSON.parse(stdout) as AuditReport;
    expect([code, report.ok, report.chains.length]).toEqual([0, true, 1]);
    expect(report.chains[0]?.signed?.seq).toBeGreaterThan(5);
  });

  it('has its public key told apart from one that somebody put beside it, and shown where a Lease holds none', async () => {
    const name = `byoc-audit-${connector.clusterId}.worker-0`;
    const found = JSON.parse(
      await connector.kubectl('get', 'lease', '-n', connector.headsNamespace, name, '-o', 'json'),
    ) as {
      metadata: { labels: object; annotations: object };
      spec: object;
    };
    const [good] = await currentHeads(connector);
    const theirs = createHeadKey(randomBytes(32));
    const forged = signHead((good as SignedHead).head, new Date().toISOString(), theirs);
    const plant = async (suffix: string, head: string, publicKey: string) => {
      const annotations = { 'neuralops.io/audit-head': head, 'neuralops.io/audit-key': publicKey };
      const metadata = {
        ...found.metadata,
        name: name + suffix,
        annotations,
        uid: undefined,
        resourceVersion: undefined,
      };
      const file = await connector.save('lease.json', JSON.stringify({ ...found, metadata }));
      await connector.kubectl('create', '-f', file);
    };
    await plant('-theirs', JSON.stringify(forged), theirs.publicKeyPem);
    await plant('-empty', 'none', 'none');
    try {
      const { code, stdout, stderr } = await connector.byoc('audit', 'head', '--public-key');
      expect([code, stdout.match(/BEGIN/g)?.length]).toEqual([1, 2]);
      expect(stderr).toContain(`The Lease ${name}-empty holds no head`);
      expect(stderr).toMatch(new RegExp(`not signed with one key but with 2[^]*${theirs.keyId}  ${name}-theirs`));
    } finally {
      await connector.kubectl('delete', 'lease', '-n', connector.headsNamespace, `${name}-theirs`, `${name}-empty`);
    }
  });

  it('verifies in the bucket by the public key alone, and every object is locked', async () => {
    await until('the rest to be uploaded', async () => {
      const { stdout } = await connector.byoc('audit', 'verify', bucketOf(connector), '--key', key, '-o', 'json');
      const report = JSON.parse(stdout || '{}') as Partial<AuditReport>;
      const [chain] = report.chains ?? [];
      return report.ok && chain && chain.signed?.seq === chain.lastSeq && chain.entries > 10;
    });
  });

  it('is read by search, tail, export and report, and each reading is in it, as the tool says', async () => {
    const { auditDir } = connector.prepared;
    const found = await connector.byoc(
      'audit',
      'search',
      auditDir,
      '--package',
      wpkId,
      '--type',
      'package',
      '-o',
      'json',
    );
    expect((JSON.parse(found.stdout) as { type: string }[]).map(({ type }) => type)).toEqual([
      ...['package.verified', 'package.planned', 'package.approved', 'package.succeeded'],
    ]);
    const table = await connector.byoc('audit', 'search', auditDir, '--actor', 'bob@example.com');
    expect(table.stdout).toMatch(
      new RegExp(`TIME +TYPE[^]*vote\\.recorded +succeeded +bob@example\\.com \\(${connector.proof}\\)`),
    );
    expect((await connector.byoc('audit', 'tail', '-n', '3', auditDir)).stdout.trim().split('\n')).toHaveLength(4);

    const exported = await connector.save('export.jsonl', (await connector.byoc('audit', 'export', auditDir)).stdout);
    expect(await connector.byoc('audit', 'verify', exported)).toMatchObject({ code: 0 });

    const report = await connector.byoc('audit', 'report', auditDir, '--key', key, '--head', heads);
    expect(report.code).toBe(0);
    expect(report.stdout).toContain('**The log verifies**');
    expect(report.stdout).toMatch(
      new RegExp(`\\| ${wpkId} \\|.*bob@example.com \\\\\\(${connector.proof}\\\\\\).*succeeded`),
    );

    const readings = (await connector.audit()).filter(({ type }) => type === 'audit.read');
    const told = readings.map(({ actor, detail }) => [actor.proof, detail['command']]);
    expect(told).toEqual(['search', 'search', 'tail', 'export', 'report'].map((command) => ['asserted', command]));
  });

  it('is uploaded and tidied by schedules of this writer', async () => {
    const { schedule } = connector.client.client;
    for (const name of ['audit-upload', 'audit-retention']) {
      const handle = schedule.getHandle(scheduleIdOf(connector.clusterId, name, 'worker-0'));
      await handle.trigger();
      await until(`${name} to run`, async () => {
        const [action] = (await handle.describe()).info.recentActions.slice(-1);
        if (action?.action.type !== 'startWorkflow') return false;
        const { workflowId } = action.action.workflow;
        await connector.client.client.workflow.getHandle(workflowId).result();
        return true;
      });
    }
  });

  it('begins another chain, and says so, when the disk lost what was published', async () => {
    await currentHeads(connector);
    await connector.stopWorker();
    const file = join(connector.prepared.auditDir, `${connector.clusterId}.worker-0`, `${today()}.jsonl`);
    const lines = (await readFile(file, 'utf8')).split('\n');
    await truncate(file, Buffer.byteLength(`${lines.slice(0, 5).join('\n')}\n`));
    expect(await connector.byoc('audit', 'verify', file)).toMatchObject({ code: 0 });
    const cut = await connector.byoc('audit', 'verify', file, '--key', key, '--head', heads);
    expect([cut.code, cut.stdout]).toEqual([1, expect.stringContaining('truncated')]);

    await connector.startWorker();
    await hasAlert(connector, 'audit-lost');
    const begun = (await connector.audit()).find(({ type }) => type === 'audit.chain-begun');
    expect(begun).toMatchObject({
      chain: `${connector.clusterId}.worker-0_2`,
      detail: { after: { chain: `${connector.clusterId}.worker-0` }, found: { seq: 5 } },
    });
    await runOne(connector);
  });

  it('does not begin a chain once more that the bucket has, when the cluster and the disk forgot it', async () => {
    await connector.stopWorker();
    await rm(connector.prepared.auditDir, { recursive: true });
    await connector.kubectl(
      'delete',
      'lease',
      '-n',
      connector.headsNamespace,
      `byoc-audit-${connector.clusterId}.worker-0`,
    );
    await connector.startWorker();
    const begun = await until('another chain to begin', async () =>
      (await connector.audit()).find(({ type }) => type === 'audit.chain-begun'),
    );
    expect(begun).toMatchObject({
      chain: `${connector.clusterId}.worker-0_3`,
      detail: { after: { chain: `${connector.clusterId}.worker-0_2` }, found: { seq: 0 } },
    });
    await runOne(connector);
  });

  it('does not follow a Lease with the head of another chain, and says so', async () => {
    await currentHeads(connector);
    await connector.stopWorker();
    const other = await TestConnector.start();
    try {
      const [head] = await currentHeads(other);
      await other.stopWorker();
      const annotation = `neuralops.io/audit-head=${JSON.stringify(head)}`;
      const lease = `byoc-audit-${connector.clusterId}.worker-0`;
      await connector.kubectl('annotate', 'lease', '-n', connector.headsNamespace, lease, '--overwrite', annotation);
    } finally {
      await other.stop();
    }
    await connector.startWorker();
    await hasAlert(connector, 'audit-head-forged');
    await runOne(connector);
    expect(new Set((await connector.audit()).map(({ chain }) => chain))).toEqual(
      new Set([`${connector.clusterId}.worker-0_3`]),
    );
  });
});

describe('a bucket that holds what the log does not have', () => {
  it('raises an alert at once', async () => {
    const connector = await TestConnector.start();
    const { endpoint, region, bucket: name, caFile, ...credentials } = connector.services.s3;
    const bucket = openBucket({ bucket: name, endpoint, region, credentials, tls: { ca: caFile } });
    try {
      await runOne(connector);
      await connector.stopWorker();
      const chain = `${connector.clusterId}.worker-0`;
      const planted = `byoc/${connector.clusterId}/${chain}/${rangeName(9_001, 9_002)}`;
      await bucket.putOnce(planted, Buffer.from('{}\n'));
      await connector.startWorker();
      const { schedule } = connector.client.client;
      await schedule.getHandle(scheduleIdOf(connector.clusterId, 'audit-upload', 'worker-0')).trigger();
      await hasAlert(connector, 'audit-broken');
    } finally {
      bucket.close();
      await connector.stop();
    }
  });
});

describe('a bucket that is away for too long', () => {
  it('raises an alert, is told in the log with how much waits for it, and nothing is executed meanwhile', async () => {
    const env = { AWS_ENDPOINT_URL_S3: 'http://127.0.0.1:1', BYOC_AUDIT_UPLOAD_ALERT_SECONDS: '1' };
    const connector = await TestConnector.start({ env });
    try {
      const { workflowId, wpkId, planDigest } = await connector.submitAndPlan();
      await connector.signalApproval(workflowId, { approver: 'bob@example.com', planDigest });
      await hasAlert(connector, 'audit-not-uploaded');
      const entries = await connector.audit();
      const late = entries.find(({ type }) => type === 'audit.upload-late');
      expect(late).toMatchObject({ outcome: 'failed', detail: { code: 'S3_UNAVAILABLE' } });
      expect(late?.detail['waiting']).toBe((late?.seq ?? 0) - 1);
      expect(entries.map(({ type }) => type)).not.toContain('step.started');
      expect(await connector.client.get(wpkId)).toMatchObject({ phase: 'executing' });
    } finally {
      await connector.stop();
    }
  });
});

describe('a policy that wants Object Lock', () => {
  it('denies every package while the log goes to no bucket that has it', async () => {
    const policy = [
      ...['apiVersion: neuralops.io/v1', 'kind: Policy', 'approvals: { acceptAsserted: true }'],
      'audit: { requireObjectLock: true }',
    ].join('\n');
    const connector = await TestConnector.start({ policy, env: { S3_BUCKET: '' } });
    try {
      await hasAlert(connector, 'audit-unprotected');
      const { wpkId } = await connector.submit();
      expect(await connector.client.result(wpkId)).toMatchObject({
        phase: 'denied',
        error: { code: 'POLICY_DENIED', message: expect.stringContaining('Object Lock') },
      });
    } finally {
      await connector.stop();
    }
  });
});

describeOnSmallDisk('a disk that fills up', () => {
  it('keeps packages from being executed, raises an alert, and lets them go on when there is room', async () => {
    const disk = new SmallDisk(8 * 1024);
    const connector = await TestConnector.start({ env: { BYOC_DATA_DIR: disk.path } });
    try {
      const { workflowId, wpkId, planDigest } = await connector.submitAndPlan();
      const filler = join(disk.path, 'filler');
      await writeFile(filler, Buffer.alloc(6 * 1024 * 1024));
      await connector.signalApproval(workflowId, { approver: 'bob@example.com', planDigest });
      await hasAlert(connector, 'audit-unavailable');
      expect(await connector.client.get(wpkId)).toMatchObject({ phase: 'executing' });
      expect(await connector.read('configmap', 'settings')).toBeUndefined();
      await rm(filler);
      expect(await connector.client.result(wpkId)).toMatchObject({ phase: 'succeeded' });
    } finally {
      await connector.stop();
      disk.unmount();
    }
  });
});

function bucketOf({ services, clusterId }: TestConnector): string {
  return `s3://${services.s3.bucket}/byoc/${clusterId}`;
}

function today(): string {
  return new Date().toISOString().slice(0, 10);
}
