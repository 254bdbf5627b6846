import { DeleteObjectCommand } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { ulid } from 'ulid';
import type { Use } from '../../../activities/audit/used-ids.ts';
import { UsedIds } from '../../../activities/audit/used-ids.ts';
import { openBucket } from '../../../activities/s3/bucket.ts';
import type { Bucket } from '../../../activities/s3/bucket.ts';
import { s3ClientOf } from '../../../dev/servers/seaweedfs.ts';
import { sharedServices } from '../../support/stack.ts';
import { sha256 } from './support.ts';

/** R35: where etcd and Temporal were restored or wiped, the bucket still knows. */
describe('the id of a package, once it is noted in the bucket as used', () => {
  const prefix = `used-${ulid()}`;
  let bucket: Bucket;
  let remove: (key: string) => Promise<unknown>;
  let ids: UsedIds;

  beforeAll(async () => {
    const { s3 } = await sharedServices();
    const { endpoint, region, bucket: name, caFile, ...credentials } = s3;
    bucket = openBucket({ bucket: name, endpoint, region, credentials, tls: { ca: caFile } });
    const client = await s3ClientOf(s3);
    remove = (key) => client.send(new DeleteObjectCommand({ Bucket: name, Key: key }));
    ids = new UsedIds({ bucket, prefix, retention: { mode: 'COMPLIANCE', days: 1 }, now: () => new Date() });
  });
  afterAll(() => bucket.close());

  const useOf = (runId: string, wpkId = ulid()): Use => ({
    ...{ wpkId, workflowId: `wpk/prod-eu-1/${wpkId}`, runId },
    wpkDigest: sha256(wpkId),
  });
  const keyOf = ({ wpkId }: Use) => `${prefix}/used/${wpkId}.json`;
  const refused = expect.objectContaining({ code: 'WPK_ALREADY_USED' });

  it('may be noted again by the same run, which goes on after a crash', async () => {
    const use = useOf('run-1');
    await ids.use(use);
    await ids.use(use);
  });

  it('is refused to every other run', async () => {
    const use = useOf('run-1');
    await ids.use(use);
    await expect(ids.use({ ...use, runId: 'run-2' })).rejects.toEqual(refused);
  });

  it('stays used where somebody hid the note behind a deletion: what was written first counts', async () => {
    const use = useOf('run-1');
    await ids.use(use);
    await remove(keyOf(use));
    await expect(ids.use({ ...use, runId: 'run-2' })).rejects.toEqual(refused);
  });

  it('goes to one of two runs that come at once', async () => {
    const { wpkId } = useOf('');
    const both = await Promise.allSettled(['run-1', 'run-2'].map((runId) => ids.use(useOf(runId, wpkId))));
    expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  });

  it('cannot be deleted there before its time', async () => {
    const use = useOf('run-1');
    await ids.use(use);
    const versions = [];
    for await (const version of bucket.versions(keyOf(use))) versions.push(version);
    expect(await bucket.retentionOf(keyOf(use), versions[0]?.versionId)).toMatchObject({ mode: 'COMPLIANCE' });
  });
});
