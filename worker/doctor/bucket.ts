import type { BucketInspection, BucketOptions } from '../../activities/s3/bucket.ts';
import { openBucket } from '../../activities/s3/bucket.ts';
import { ConnectorError } from '../../domain/errors.ts';
import type { FindingCode } from './catalogue.ts';
import { found, ok } from './check.ts';
import type { Check, CheckGroup, Told } from './check.ts';
import type { Evidence } from './evidence.ts';
import { aboutFiles, materialOf, noAnswer, shown } from './evidence.ts';
import { probe } from './probe.ts';

export interface BucketCheckOptions {
  readonly s3: Omit<BucketOptions, 'credentials'> | undefined;
  /** Where the worker keeps its chains. */
  readonly prefix: string;
  readonly evidence: Evidence;
}

const TROUBLES = {
  credentials: 'S3_CREDENTIALS',
  missing: 'BUCKET_MISSING',
  denied: 'BUCKET_DENIED',
  certificate: 'S3_CERTIFICATE',
  away: 'S3_UNREACHABLE',
} as const satisfies Record<string, FindingCode>;
const CODES = { away: 'S3_UNREACHABLE', certificate: 'S3_CERTIFICATE' } as const;
/** Told as one timed-out check otherwise, and nobody would know of what. */
const TIMEOUT_MS = 5_000;

/** The bucket of the audit log. Nothing is written into it: what a lock would keep could not be taken back. */
export function bucketChecks({ s3, prefix, evidence }: BucketCheckOptions): CheckGroup {
  if (!s3) {
    const unset = found('BUCKET_UNSET', 'No bucket is set for the audit log.');
    return { checks: [{ name: 's3', run: () => Promise.resolve([unset]) }] };
  }
  let opened: ReturnType<typeof openBucket> | undefined;
  const bucket = () => (opened ??= openBucket({ ...s3, timeoutMs: TIMEOUT_MS }));
  const later = (name: string, run: Check['run']): Check => ({ name, needs: ['s3'], timeoutMs: 20_000, run });
  const checks: Check[] = [
    {
      name: 's3',
      timeoutMs: 25_000, // the SDK tries three times
      async run(signal) {
        const endpoint = s3.endpoint ?? `https://s3.${s3.region}.amazonaws.com`;
        const where = `S3 at ${shown(endpoint)}`;
        const material = await materialOf(s3.tls);
        if (material instanceof Error) return [found('S3_CERTIFICATE', aboutFiles(where, material))];
        const probed = await probe(endpoint, { signal, method: 'HEAD', tls: material });
        if ('trouble' in probed) return [noAnswer(probed.trouble, CODES, where)];
        evidence.take('s3', probed.answer);
        const trouble = await bucket().trouble();
        if (!trouble) return [ok(`The bucket ${s3.bucket} answers, and its versions can be listed.`)];
        return [found(TROUBLES[trouble.why], `The bucket ${s3.bucket} cannot be used (${trouble.code}).`)];
      },
    },
    later('s3.object-lock', async () => {
      const [isLocked, { defaultRetention }] = await Promise.all([bucket().hasObjectLock(), bucket().setup()]);
      if (!isLocked) return [found('OBJECT_LOCK_OFF', `The bucket ${s3.bucket} has no Object Lock.`)];
      const own = 'each object of the log brings its own retention';
      return [
        ok(
          `Object Lock is on; ${defaultRetention ? `default retention ${defaultRetention}` : 'no default retention'}, ${own}.`,
        ),
      ];
    }),
    later('s3.versioning', async () => {
      const { isVersioned } = await bucket().setup();
      return [
        isVersioned ? ok('Versions are kept.') : found('VERSIONING_OFF', `The bucket ${s3.bucket} keeps no versions.`),
      ];
    }),
    later('s3.encryption', async () => {
      const { encryption } = await bucket().setup();
      const ours = s3.encryption?.algorithm;
      if (ours) return [ok(`What is written is encrypted with ${ours} (BYOC_S3_SSE).`)];
      return [
        encryption
          ? ok(`The bucket encrypts with ${encryption}.`)
          : found('ENCRYPTION_UNSET', `Neither BYOC_S3_SSE nor the bucket ${s3.bucket} says how it is encrypted.`),
      ];
    }),
    later('s3.write', async () => [await judgeWrite(bucket(), prefix)]),
  ];
  return { checks: checks.map(withRefusals), close: async () => opened?.close() };
}

async function judgeWrite(bucket: BucketInspection, prefix: string): Promise<Told> {
  if (!(await bucket.mayWrite(prefix))) return found('BUCKET_DENIED', `Nothing may be written below ${prefix}.`);
  return ok(`It may be written below ${prefix}; nothing was. Retention and If-None-Match show with the first upload.`);
}

/** A right that is missing is told of the check that needs it. */
function withRefusals(check: Check): Check {
  return {
    ...check,
    async run(signal) {
      try {
        return await check.run(signal);
      } catch (error) {
        if (!(error instanceof ConnectorError) || error.code !== 'S3_UNAVAILABLE') throw error;
        const denied = /AccessDenied|Forbidden/.test(error.detail);
        return [found(denied ? 'BUCKET_DENIED' : 'S3_UNREACHABLE', error.detail)];
      }
    },
  };
}
