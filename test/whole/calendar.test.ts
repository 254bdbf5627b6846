import { copyFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { scheduleIdOf } from '../../domain/names.ts';
import { TestConnector } from '../support/connector.ts';
import type { CommandBlock } from '../support/page-commands.ts';
import { commandBlocks, readPage, Terminal } from '../support/page-commands.ts';
import { until } from '../support/until.ts';

/** R30: the commands of docs/calendar.md; its disaster recovery is a test of its own. */
describe('the review calendar', () => {
  let connector: TestConnector;
  let blocks: readonly CommandBlock[];
  let terminal: Terminal;
  let executed: string;

  beforeAll(async () => {
    connector = await TestConnector.start();
    const audit = `s3://${connector.services.s3.bucket}/byoc/${connector.clusterId}`;
    terminal = await Terminal.open(connector, {
      ...{ CLUSTER: connector.clusterId, NS: connector.headsNamespace, STATE: connector.stateNamespace, AUDIT: audit },
      ...{ POLICY: 'policy.yaml', MONTH: '31d', QUARTER: '92d' },
    });
    await copyFile(connector.prepared.policyPath, join(terminal.folder, 'policy.yaml'));
    for (const [file, args] of [
      ['audit.pub', ['--public-key']],
      ['heads-kept.json', ['-o', 'json']],
    ] as const) {
      const { stdout } = await connector.byoc('audit', 'head', ...args);
      await writeFile(join(terminal.folder, file), stdout);
    }
    const one = await connector.submitAndPlan();
    await connector.signalApproval(one.workflowId, { approver: 'bob@example.com', planDigest: one.planDigest });
    await connector.client.result((executed = one.wpkId));
    const { schedule } = connector.client.client;
    await schedule.getHandle(scheduleIdOf(connector.clusterId, 'audit-upload', 'worker-0')).trigger();
    blocks = commandBlocks(await readPage('calendar.md'));
    await until('the log to be in the bucket', async () => {
      const { code } = await terminal.run('byoc audit verify --key audit.pub --head heads-kept.json "$AUDIT"');
      return code === 0;
    });
  }, 120_000);
  afterAll(() => connector.stop());

  it('answers what is asked each month', async () => {
    const said = await terminal.follow(blocks, 'Each month');
    expect(said).toContain('The audit log verifies');
    expect(said).toContain(`{"id":"byoc/${connector.clusterId}/reconcile","paused":false}`);
    expect(said).toMatch(/^execution \d{4}-\d\d-\d\dT/m); // when its secret_id ends
  });

  it('answers what is asked each quarter', async () => {
    const said = await terminal.follow(blocks, 'Each quarter');
    expect(said).toContain('"side":"approvers","name":"development","identity":"bob@example.com"');
    expect(said).toContain('key.loaded');
    expect(said).toContain('policy.loaded');
    expect(said).toContain('resumed');
  });

  it('looks after a disaster where it says, and freezes', async () => {
    const said = await terminal.follow(blocks, 'Disaster recovery');
    expect(said).toContain(executed);
    expect((await connector.byoc('resume', '--reason', 'over', '--as', 'bob@example.com')).code).toBe(0);
  });
});
