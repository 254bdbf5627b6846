import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { WaitingPackage } from '../support/connector.ts';
import { TestConnector } from '../support/connector.ts';
import type { CommandBlock } from '../support/page-commands.ts';
import { commandBlocks, readPage, Terminal } from '../support/page-commands.ts';
import { until } from '../support/until.ts';

/** R6, R30: every command of docs/temporal-commands.md, typed as it stands there. */
describe('what docs/temporal-commands.md tells people to type', () => {
  let connector: TestConnector;
  let blocks: readonly CommandBlock[];
  let terminal: Terminal;
  let one: WaitingPackage;
  let other: WaitingPackage;
  let stuck: WaitingPackage;

  beforeAll(async () => {
    // What is encrypted the command shows with the codec server only.
    connector = await TestConnector.start({ clothes: 'development' });
    blocks = commandBlocks(await readPage('temporal-commands.md'));
    [one, other, stuck] = [
      await connector.submitAndPlan(),
      await connector.submitAndPlan(),
      await connector.submitAndPlan(),
    ];
    terminal = await Terminal.open(connector, {
      ...{ CLUSTER: connector.clusterId, ID: one.wpkId, PLAN: one.planDigest },
      ...{ OTHER: other.wpkId, STUCK: stuck.wpkId },
    });
    await copyFile(connector.prepared.approverKeyPath, join(terminal.folder, 'bob.key'));
    await connector.untilListed(stuck.wpkId);
  });
  afterAll(() => connector.stop());

  it('connects with flags alone', async () => {
    const [, flags] = blocks;
    const found = await terminal.run(flags?.text ?? '');
    expect(found).toMatchObject({ code: 0, stdout: expect.stringMatching(/^Total: \d+/) });
  });

  it('lists', async () => {
    expect(await terminal.follow(blocks, 'List')).toContain(`wpk/${connector.clusterId}/${one.wpkId}`);
  });

  it('shows status, plan and events', async () => {
    const said = await terminal.follow(blocks, 'Show');
    for (const part of ['awaiting-approval', one.planDigest, 'WorkflowExecutionStarted']) expect(said).toContain(part);
  });

  it('takes a signed vote and tells the result', async () => {
    expect(await terminal.follow(blocks, 'Vote')).toContain('succeeded');
    expect(await connector.client.get(one.wpkId)).toMatchObject({ votes: [{ proof: 'verified' }] });
  });

  it('cancels', async () => {
    await terminal.follow(blocks, 'Cancel');
    expect(await connector.client.result(other.wpkId)).toMatchObject({ phase: 'stopped' });
  });

  it('looks at schedules, triggers, pauses and resumes one', async () => {
    expect(await terminal.follow(blocks, 'Schedules')).toContain(`byoc/${connector.clusterId}/reconcile`);
  });

  it('looks at workers', async () => {
    expect(await terminal.follow(blocks, 'Workers')).toContain('UNVERSIONED');
  });

  it('terminates and resets, of which the connector makes what the page says', async () => {
    await terminal.follow(blocks, 'Leave alone');
    await until('the package to be found cut off', async () => {
      const entries = await connector.audit({ workflowId: stuck.workflowId });
      return entries.some(({ type }) => type === 'package.cut-off');
    });
    expect(await connector.client.result(stuck.wpkId)).toMatchObject({
      phase: 'denied',
      error: { code: 'WPK_ALREADY_USED' },
    });
  });
});
