import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { generateKeyPair } from '../../client/sign.ts';
import type { ErrorCode } from '../../domain/errors.ts';
import type { PackageResult } from '../../domain/status.ts';
import type { SignedWpk, Wpk } from '../../domain/wpk.ts';
import { TestConnector } from '../support/connector.ts';
import { applyStep, configMap, sign, signBytes } from '../support/packages.ts';
import { until } from '../support/until.ts';

const FLIPS = 12;
const OTHER_DIGEST = `sha256:${'0'.repeat(64)}`;

describe('bad input', () => {
  let connector: TestConnector;
  beforeAll(async () => {
    connector = await TestConnector.start();
  });
  afterAll(() => connector.stop());

  const key = () => connector.prepared.privateKeyPem;

  /** Submits what must be denied: with the code, before anything is planned or written, audited, and with an alert. */
  async function expectDenied(signed: SignedWpk, code: ErrorCode): Promise<PackageResult> {
    const { wpkId, workflowId } = await connector.client.submit(signed);
    const result = await connector.client.result(wpkId);
    expect(result).toMatchObject({ phase: 'denied', error: { code } });
    expect(result.planDigest).toBeUndefined();
    const runs = await connector.audit({ workflowId });
    expect(runs.slice(-2)).toMatchObject([
      { type: 'call.refused', outcome: 'refused', detail: { activity: 'verifyPackage', code } },
      { type: 'package.denied', outcome: 'refused', detail: { error: { code } } },
    ]);
    expect(await connector.log()).toContainEqual(expect.objectContaining({ alert: 'refused', code, workflowId }));
    return result;
  }

  /** Signs a text that stands for a package, as the author's own mistake would be signed. */
  const signedText = (text: string) => signBytes(Buffer.from(text), key());
  const goodText = () => JSON.stringify(connector.wpk(), undefined, 2);

  describe('in the signature', () => {
    it('denies a payload that is changed by one bit, wherever the bit is', async () => {
      for (let flip = 0; flip < FLIPS; flip += 1) {
        const good = connector.signed();
        const bytes = Buffer.from(good.payload, 'base64');
        const at = Math.floor((flip * (bytes.length - 1)) / (FLIPS - 1));
        bytes.writeUInt8(bytes.readUInt8(at) ^ (1 << (flip % 8)), at);
        await expectDenied({ ...good, payload: bytes.toString('base64') }, 'SIGNATURE_INVALID');
      }
      expect(await connector.dataOf('settings')).toBeUndefined();
    });

    it.each<[string, unknown, ErrorCode]>([
      ['is missing', undefined, 'BUNDLE_EMPTY'],
      ['is null', null, 'BUNDLE_EMPTY'],
      ['is an empty text', '', 'BUNDLE_EMPTY'],
      ['is an empty object', {}, 'BUNDLE_EMPTY'],
      ['is a number', 7, 'BUNDLE_MALFORMED'],
      ['is no JSON', '{"mediaType":', 'BUNDLE_MALFORMED'],
      ['is a list', [], 'BUNDLE_MALFORMED'],
      ['is some other object', { mediaType: 'text/plain' }, 'BUNDLE_MALFORMED'],
    ])('denies a package whose bundle %s', async (_, bundle, code) => {
      await expectDenied({ ...connector.signed(), bundle }, code);
    });

    it.each<[string, object, ErrorCode]>([
      [
        'is of an unknown version',
        { mediaType: 'application/vnd.dev.sigstore.bundle.v0.9+json' },
        'BUNDLE_VERSION_UNSUPPORTED',
      ],
      ['holds no signature', { messageSignature: {} }, 'BUNDLE_MALFORMED'],
      ['names an unknown key', hint(Buffer.alloc(32, 7).toString('base64')), 'KEY_UNKNOWN'],
      ['names the key __proto__', hint('__proto__'), 'KEY_HINT_INVALID'],
      ['names no key at all', hint(7), 'KEY_HINT_INVALID'],
    ])('denies a package whose bundle %s', async (_, changes, code) => {
      const { payload, bundle } = connector.signed();
      await expectDenied({ payload, bundle: { ...(bundle as object), ...changes } }, code);
    });

    it('denies the bundle of another payload, and a signature by a key that nobody trusts', async () => {
      await expectDenied({ ...connector.signed(), bundle: connector.signed().bundle }, 'SIGNATURE_INVALID');
      await expectDenied(sign(connector.wpk(), generateKeyPair().privateKeyPem), 'KEY_UNKNOWN');
    });
  });

  describe('in the form', () => {
    it.each<[string, (text: string) => string, ErrorCode]>([
      ['a duplicate key', (text) => text.replace('"risk"', '"kind": "WorkPackage",\n  "risk"'), 'WPK_SYNTAX'],
      ['an unknown field', (text) => text.replace('"risk"', '"hurry": true,\n  "risk"'), 'WPK_SCHEMA'],
      ['a key __proto__', (text) => text.replace('"risk"', '"__proto__": {},\n  "risk"'), 'WPK_SYNTAX'],
      ['a wrong type', (text) => text.replace('"risk": "low"', '"risk": 1'), 'WPK_SCHEMA'],
      ['a byte-order mark', (text) => `\ufeff${text}`, 'WPK_SYNTAX'],
      ['trailing bytes', (text) => `${text}\n{}`, 'WPK_SYNTAX'],
      ['deep nesting', (text) => text.replace('"low"', `${'['.repeat(5_000)}${']'.repeat(5_000)}`), 'WPK_SYNTAX'],
      ['nothing in it', () => '', 'WPK_SYNTAX'],
    ])('denies a package with %s and names the place', async (_, spoil, code) => {
      const { error } = await expectDenied(signedText(spoil(goodText())), code);
      expect(error?.message).toMatch(/\(line \d+, column \d+/);
    });

    it('points at the very line and column', async () => {
      const text = goodText().replace('"risk"', '"hurry": true,\n  "risk"');
      const line = text.split('\n').findIndex((one) => one.includes('hurry')) + 1;
      const { error } = await expectDenied(signedText(text), 'WPK_SCHEMA');
      expect(error?.message).toContain(`(line ${line}, column 3, at /hurry)`);
    });

    it('denies a package of more than 1 MiB', async () => {
      await expectDenied(signedText(goodText() + ' '.repeat(1024 * 1024)), 'WPK_TOO_LARGE');
    });
  });

  describe('in what it is meant for', () => {
    const minutes = (count: number) => new Date(Date.now() + count * 60_000);

    it.each<[string, (good: Wpk) => Wpk, ErrorCode]>([
      ['has expired', (good) => valid(good, minutes(-60), minutes(-1)), 'WPK_EXPIRED'],
      ['is not valid yet', (good) => valid(good, minutes(5), minutes(60)), 'WPK_NOT_YET_VALID'],
      [
        'is valid for longer than allowed',
        (good) => valid(good, minutes(0), minutes(60 * 25)),
        'WPK_VALIDITY_TOO_LONG',
      ],
      [
        'is for another cluster',
        (good) => ({ ...good, target: { ...good.target, clusterId: 'other' } }),
        'WPK_WRONG_CLUSTER',
      ],
    ])('denies a package that %s', async (_, change, code) => {
      await expectDenied(sign(change(connector.wpk()), key()), code);
    });

    it('takes an id once: also when the first run is gone from Temporal', async () => {
      const steps = [applyStep(configMap('once', connector.namespace, {}))];
      const signed = connector.signed({ steps });
      const first = await connector.untilWaiting(await connector.client.submit(signed));
      await expect(connector.client.submit(signed)).rejects.toMatchObject({ code: 'WPK_ALREADY_USED' });
      await connector.signalApproval(first.workflowId, {
        approver: 'bob@example.com',
        planDigest: first.planDigest,
      });
      expect(await connector.client.result(first.wpkId)).toMatchObject({ phase: 'succeeded' });
      await expect(connector.client.submit(signed)).rejects.toMatchObject({ code: 'WPK_ALREADY_USED' });

      // Temporal puts a deletion off for minutes while the end of the run is not in its list yet.
      await until('the end to be listed', async () =>
        (await connector.client.list()).some(({ wpkId, closedAt }) => wpkId === first.wpkId && closedAt !== undefined),
      );
      await connector.temporal('workflow', 'delete', '--yes', '--workflow-id', first.workflowId);
      const forgotten = () =>
        connector.client.get(first.wpkId).then(
          () => false,
          (error: unknown) => (error as { code?: string }).code === 'WPK_NOT_FOUND',
        );
      await until('the run to be forgotten', forgotten, 240_000);
      await expectDenied(signed, 'WPK_ALREADY_USED');
    }, 300_000);
  });

  describe('in what the API server would have to take', () => {
    it.each<[string, object, RegExp]>([
      ['a field that it does not know', { data: {}, colour: 'blue' }, /^ConfigMap \S+\/refused: .*colour/],
      ['a value of a wrong type', { data: { size: 7 } }, /^ConfigMap \S+\/refused: .*size/],
    ])('shows the object and the reason for %s, and offers no execution', async (_, content, message) => {
      const manifest = {
        apiVersion: 'v1',
        kind: 'ConfigMap',
        metadata: { name: 'refused', namespace: connector.namespace },
        ...content,
      };
      const good = configMap('good', connector.namespace, {});
      const { wpkId } = await connector.submit({ steps: [applyStep(good, manifest)] });
      const result = await connector.client.result(wpkId);
      expect(result).toMatchObject({ phase: 'failed', error: { code: 'PLAN_REJECTED' } });
      expect(result.error?.message).toMatch(message);
      expect(await connector.client.plan(wpkId)).toMatchObject({
        problems: [{ object: { kind: 'ConfigMap', name: 'refused' } }],
      });
      const { timeline } = await connector.client.get(wpkId);
      expect(timeline.map(({ phase }) => phase)).toEqual(['verifying', 'planning', 'failed']);
      expect(await connector.dataOf('good')).toBeUndefined();
    });
  });

  describe('on the command line', () => {
    async function save(name: string, { payload, bundle }: SignedWpk): Promise<string> {
      await connector.save(`${name}.wpk.sigstore.json`, JSON.stringify(bundle));
      return connector.save(`${name}.wpk.json`, Buffer.from(payload, 'base64'));
    }

    it('exits 1 for a package that is denied and prints the code', async () => {
      const other = sign(connector.wpk(), generateKeyPair().privateKeyPem);
      const { code, stdout } = await connector.byoc('submit', await save('stranger', other), '--wait');
      expect(stdout).toContain('KEY_UNKNOWN');
      expect(stdout).toContain('denied');
      expect(code).toBe(1);
    });

    it('exits 1 for a signature that is no JSON, which the cluster refuses and not the command', async () => {
      const file = await save('broken', connector.signed());
      await connector.save('broken.wpk.sigstore.json', 'not JSON');
      const { code, stdout } = await connector.byoc('submit', file, '--wait', '-o', 'json');
      expect(JSON.parse(stdout)).toMatchObject({ phase: 'denied', error: { code: 'BUNDLE_MALFORMED' } });
      expect(code).toBe(1);
    });

    it('exits 1 for a vote without effect and says why, and 0 for one that counts', async () => {
      const file = await save(
        'votes',
        connector.signed({ steps: [applyStep(configMap('voted', connector.namespace, {}))] }),
      );
      const submitted = await connector.byoc('submit', file, '-o', 'json');
      expect(submitted.code).toBe(0);
      const one = await connector.untilWaiting(
        JSON.parse(submitted.stdout) as { wpkId: string; workflowId: string; runId: string },
      );
      const as = ['--as', 'bob@example.com', '--key', connector.prepared.approverKeyPath];
      const approve = (plan: string) => connector.byoc('approve', one.wpkId, ...as, '--plan', plan);
      expect(await approve(OTHER_DIGEST)).toMatchObject({
        code: 1,
        stderr: expect.stringContaining('APPROVAL_PLAN_MISMATCH'),
      });
      expect(await approve(one.planDigest)).toMatchObject({ code: 0, stdout: 'approved\n' });
      expect(await connector.byoc('watch', one.wpkId)).toMatchObject({
        code: 0,
        stdout: expect.stringContaining('succeeded'),
      });
    });

    it('says that Temporal knows nothing of a cluster, and that a setting is misspelt', async () => {
      const env = { BYOC_CLUSTER_ID: 'prod-eu-2', BYOC_PAYLOAD_CODEC: 'off', BYOC_DATADIR: '/var' };
      const { code, stderr } = await connector.byocWith(env, 'list');
      expect(code).toBe(0);
      expect(stderr).toContain('BYOC_DATADIR is no setting; did you mean BYOC_DATA_DIR?');
      expect(stderr).toContain('Temporal knows no package of a cluster prod-eu-2.');
    });

    it('sends nothing where the setting that is misspelt would have had it encrypted', async () => {
      const wpk = connector.wpk();
      const file = await save('in-clear', sign(wpk, key()));
      expect(await connector.byocWith({ BYOC_PAYLOAD_CODEK: 'vault' }, 'submit', file)).toMatchObject({
        code: 2,
        stderr: expect.stringMatching(/CONFIG_INVALID.*did you mean BYOC_PAYLOAD_CODEC\?/),
      });
      await expect(connector.client.get(wpk.metadata.id)).rejects.toMatchObject({ code: 'WPK_NOT_FOUND' });
    });

    it.each([
      ['2 for a file that is not there', ['submit', 'nowhere.wpk.json'], 2, 'FILE_UNREADABLE'],
      ['2 for an option that does not exist', ['list', '--fast'], 2, 'unknown option'],
      ['1 for a package that does not exist', ['show', '01JD0000000000000000000000'], 1, 'WPK_NOT_FOUND'],
    ])('exits %s', async (_, args, code, said) => {
      expect(await connector.byoc(...args)).toMatchObject({ code, stderr: expect.stringContaining(said), stdout: '' });
    });
  });
});

function hint(value: unknown): object {
  return { verificationMaterial: { publicKey: { hint: value } } };
}

function valid(good: Wpk, notBefore: Date, expiresAt: Date): Wpk {
  const metadata = { ...good.metadata, notBefore: notBefore.toISOString(), expiresAt: expiresAt.toISOString() };
  return { ...good, metadata };
}
