import { randomBytes } from 'node:crypto';

import { describe, expect, it } from '@jest/globals';

import { createHeadKey } from '../../activities/audit/head-key.ts';
import { parseHeadKeys } from '../../client/audit-keys.ts';
import type { AuditFile, AuditReport } from '../../client/audit-verify.ts';
import { verifyAudit } from '../../client/audit-verify.ts';
import type { AuditHead } from '../../domain/audit.ts';
import type { DayManifest, HeadKey, SignedHead } from '../../domain/audit-head.ts';
import { headName, manifestName, signHead } from '../../domain/audit-head.ts';
import { HeadWatch } from '../../domain/head-watch.ts';
import { chainOf, fileOf, textOf } from '../support/audit-chains.ts';

// R18, R21, R36

const CHAIN = 'prod-eu-1.w1';
const TIME = '2026-01-01T12:00:00.000Z';
const key = createHeadKey(randomBytes(32));
const keys = parseHeadKeys(key.publicKeyPem, 'key');

/** The head at the end of some lines, as their hash tells it. */
function headOf(lines: readonly string[], chain = CHAIN): AuditHead {
  const { hash } = JSON.parse(lines.at(-1) ?? '') as Pick<AuditHead, 'hash'>;
  return { chain, seq: lines.length, hash };
}

const signed = (head: AuditHead, by: HeadKey = key, time = TIME): SignedHead => signHead(head, time, by);
const jsonFile = (name: string, value: unknown) => fileOf(name, JSON.stringify(value));
const logFile = (lines: readonly string[]) => fileOf('log.jsonl', textOf(lines));
const kinds = ({ problems }: AuditReport) => problems.map(({ kind }) => kind);

const lines = chainOf(200);
const head = signed(headOf(lines));
const verify = (log: readonly string[], ...heads: SignedHead[]) =>
  verifyAudit([logFile(log), ...heads.map((one) => jsonFile('x.head.json', one))], { keys });

describe('a log of 200 entries with a signed head', () => {
  it('verifies, and says up to where it is signed, and by which key', async () => {
    expect(await verify(lines, head)).toMatchObject({
      ok: true,
      heads: 1,
      chains: [{ entries: 200, signed: { seq: 200, time: TIME, keyId: key.keyId } }],
    });
  });

  it('does not verify with any single byte flipped', async () => {
    // Around each line rather than whole each time, which takes minutes: the rest of the log is as it was.
    const missed = [];
    for (let at = 0; at < lines.length; at += 1) {
      const around = lines.slice(Math.max(0, at - 1), at + 3);
      const text = Buffer.from(textOf(around));
      const start = at === 0 ? 0 : Buffer.byteLength(textOf(around.slice(0, 1)));
      const end = start + Buffer.byteLength(lines[at] ?? '') + 1;
      for (let byte = start; byte < end; byte += 1) {
        const flipped = Buffer.from(text);
        flipped[byte] = (flipped[byte] ?? 0) ^ (1 << (byte % 8));
        const report = await verifyAudit([fileOf('log.jsonl', flipped)], { partial: true });
        if (report.ok) missed.push(`line ${at + 1}, byte ${byte - start}`);
      }
    }
    expect(missed).toEqual([]);
  }, 120_000);

  it('does not verify without any of its suffixes', async () => {
    for (let kept = 0; kept < lines.length; kept += 1) {
      const report = await verify(lines.slice(0, kept), head);
      expect([kept, report.ok, kinds(report)]).toEqual([kept, false, ['truncated']]);
    }
  });

  it('does not verify with any pair of neighbours swapped, or any line doubled', async () => {
    for (let at = 0; at < lines.length; at += 1) {
      const [a = '', b = ''] = lines.slice(at, at + 2);
      if (b) expect(kinds(await verify(lines.toSpliced(at, 2, b, a), head))).toContain('reordered');
      expect(kinds(await verify(lines.toSpliced(at, 0, a), head))).toEqual(['duplicated']);
    }
  });

  it('does not verify when it was spliced with another, or written anew with correct hashes', async () => {
    const other = chainOf(200, { detail: { comment: 'nothing happened' } });
    expect((await verifyAudit([logFile(other)])).ok).toBe(true);
    expect(kinds(await verify(other, head))).toEqual(['rewritten']);
    const longer = chainOf(300, { detail: { comment: 'nothing happened' } });
    expect(kinds(await verify(longer, head))).toEqual(['rewritten']);
    expect(kinds(await verify([...lines.slice(0, 100), ...other.slice(100)], head))).toContain('broken-link');
  });

  it('says how far the signature reaches when it was written on since', async () => {
    expect(await verify(chainOf(210), head)).toMatchObject({
      ok: true,
      chains: [{ lastSeq: 210, signed: { seq: 200 } }],
    });
  });
});

describe('a signed head', () => {
  it('counts for nothing with any bit of what it says changed', async () => {
    const text = JSON.stringify(head);
    for (let at = 0; at < text.length * 7; at += 3) {
      const bytes = Buffer.from(text);
      bytes[at >> 3] = (bytes[at >> 3] ?? 0) ^ (1 << (at & 7));
      const file = fileOf('x.head.json', bytes);
      expect((await verifyAudit([logFile(lines), file], { keys })).chains[0]?.signed).toBeUndefined();
    }
  });

  it('counts for nothing when somebody else signed it', async () => {
    const foreign = signed(headOf(lines), createHeadKey(randomBytes(32)));
    expect(kinds(await verify(lines, foreign))).toEqual(['unsigned', 'bad-head']);
    const claimed = { ...foreign, keyId: key.keyId };
    expect(kinds(await verify(lines, claimed))).toEqual(['unsigned', 'bad-head']);
  });

  it('is asked of every chain once keys are given', async () => {
    const other = fileOf('other.jsonl', textOf(chainOf(3, { chain: 'prod-eu-1.w2' })));
    const report = await verifyAudit([logFile(lines), other, jsonFile('x.head.json', head)], { keys });
    expect(report.problems).toMatchObject([{ kind: 'unsigned', chain: 'prod-eu-1.w2' }]);
  });

  it('of a chain that is not there at all shows that it is gone', async () => {
    const gone = signed({ ...headOf(lines), chain: 'prod-eu-1.w9' });
    expect((await verify(lines, head, gone)).problems).toMatchObject([{ kind: 'truncated', chain: 'prod-eu-1.w9' }]);
  });

  it('from before the first entry that is here does not vouch for what is here', async () => {
    const early = signed(headOf(lines.slice(0, 50)));
    const anew = chainOf(200, { detail: { comment: 'nothing happened' } }).slice(100);
    const files = [logFile(anew), jsonFile('x.head.json', early)];
    expect(kinds(await verifyAudit(files, { keys, partial: true }))).toEqual(['unsigned']);
  });

  it('in a file larger than anybody keeps is not read into memory', async () => {
    let read = 0;
    const endless: AuditFile = {
      name: 'x.head.json',
      async *open() {
        for (; read < 1024; read += 1) yield Buffer.alloc(1024 * 1024, ' ');
      },
    };
    expect(kinds(await verifyAudit([logFile(lines), endless]))).toEqual(['malformed']);
    expect(read).toBeLessThan(100);
  });

  it('is compared without keys too, and then counts as unchecked', async () => {
    const files = [logFile(lines), jsonFile('heads.json', [head])];
    expect((await verifyAudit(files)).chains[0]).not.toHaveProperty('signed');
    expect(kinds(await verifyAudit([logFile(lines.slice(0, 9)), jsonFile('heads.json', [head])]))).toEqual([
      'truncated',
    ]);
  });

  it.each(['{}', '[1]', 'no JSON', '{"head":{}}'])('of the form %s is malformed', async (text) => {
    expect(kinds(await verifyAudit([logFile(lines), fileOf('x.head.json', text)]))).toEqual(['malformed']);
  });

  it('is named so that names sort as numbers do', () => {
    expect(headName(9) < headName(10)).toBe(true);
  });
});

describe('the manifest of a day', () => {
  const manifest = (day: string, first: number, last: number): DayManifest => {
    const placeOf = (n: number) => ({ seq: n, hash: headOf(lines.slice(0, n)).hash });
    const body = { v: 1 as const, chain: CHAIN, day, entries: last - first + 1 };
    const { hash } = placeOf(last);
    const end = signed({ chain: CHAIN, seq: last, hash });
    return { ...body, first: placeOf(first), last: placeOf(last), head: end, publicKey: key.publicKeyPem };
  };
  const days = [manifest('2026-01-01', 1, 80), manifest('2026-01-02', 81, 120), manifest('2026-01-03', 121, 200)];
  const verifyDays = (log: readonly string[], manifests: readonly DayManifest[]) =>
    verifyAudit([logFile(log), ...manifests.map((one) => jsonFile(`a/${manifestName(one.day)}`, one))], { keys });

  it('verifies with the days before and after it', async () => {
    expect(await verifyDays(lines, days)).toMatchObject({ ok: true, manifests: 3, chains: [{ signed: { seq: 200 } }] });
  });

  it('may be there twice, as in a copy of the bucket beside the log', async () => {
    expect(await verifyDays(lines, [...days, ...days])).toMatchObject({ ok: true, manifests: 6 });
  });

  it('shows by its absence that it was taken away', async () => {
    expect((await verifyDays(lines, days.toSpliced(1, 1))).problems).toMatchObject([
      { kind: 'missing', found: 'entry 121', expected: expect.stringContaining('entry 81') },
    ]);
  });

  it('shows that the log was cut, or its first entry rewritten', async () => {
    expect(kinds(await verifyDays(lines.slice(0, 150), days))).toEqual(['truncated']);
    const other = chainOf(200, { detail: { comment: 'x' } });
    expect(kinds(await verifyDays(other, days))).toContain('rewritten');
  });

  it.each([
    ['another number of entries', { entries: 7 }],
    ['another day than its name', { day: '2026-02-01' }],
    ['the head of another entry', { head: signed(headOf(lines.slice(0, 3))) }],
  ])('with %s does not hold', async (_, change) => {
    const file = jsonFile(`a/${manifestName('2026-01-01')}`, { ...days[0], ...change });
    expect(kinds(await verifyAudit([logFile(lines), file], { keys }))).toEqual(['bad-manifest']);
  });
});

describe('entries of two pods that tell the same event', () => {
  it('verify, and the event counts once', async () => {
    const [a, b] = [chainOf(5, { eventIdOf: (n) => `e${n}` }), chainOf(3, { chain: 'b.w', eventIdOf: (n) => `e${n}` })];
    const report = await verifyAudit([fileOf('a.jsonl', textOf(a)), fileOf('b.jsonl', textOf(b))]);
    expect(report).toMatchObject({ ok: true, repeated: 3 });
  });
});

describe('keys for heads', () => {
  it.each(['', 'no key', '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----'])('%j are refused', (text) => {
    expect(() => parseHeadKeys(text, 'file')).toThrow(expect.objectContaining({ code: 'KEY_UNSUPPORTED' }));
  });
});

describe('whoever remembers heads', () => {
  /** As it was signed when that entry was the last one, or later. */
  const at = (seq: number, { signedAt = seq, hash = headOf(lines.slice(0, seq)).hash } = {}) =>
    signed({ chain: CHAIN, seq, hash }, key, new Date(signedAt * 1000).toISOString()).head;
  const otherHash = headOf(chainOf(1, { chain: 'x' })).hash;
  const watching = (...seqs: number[]) => {
    const watch = new HeadWatch();
    for (const seq of seqs) expect(watch.observe(at(seq), seq * 1000)).toBeUndefined();
    return watch;
  };

  it('has no alarm for a chain that grows, nor for a message that comes twice, late, or late and for the first time', () => {
    const watch = watching(10, 20, 30);
    expect(watch.observe(at(30), 31_000)).toBeUndefined();
    expect(watch.observe(at(20), 32_000)).toBeUndefined();
    expect(watch.observe(at(25), 33_000)).toBeUndefined();
    expect(watch.checkEntry(at(20))).toBeUndefined();
    expect(watch.checkEnd({ chain: CHAIN, seq: 31 })).toBeUndefined();
  });

  it('reports a log that was cut off, also where it was cut at an entry whose head is known', () => {
    const watch = watching(10, 20);
    expect(watch.observe(at(15, { signedAt: 21 }), 21_000)).toMatchObject({ kind: 'truncated', chain: CHAIN });
    expect(watch.observe(at(10, { signedAt: 22 }), 22_000)).toMatchObject({ kind: 'truncated', chain: CHAIN });
    expect(watch.checkEnd({ chain: CHAIN, seq: 19 })).toMatchObject({ kind: 'truncated' });
  });

  it('reports a fork, two heads for one number', () => {
    expect(watching(10, 20).observe(at(10, { hash: otherHash }), 21_000)).toMatchObject({ kind: 'forked' });
    expect(watching(10, 20).observe(at(20, { hash: otherHash }), 21_000)).toMatchObject({ kind: 'forked' });
  });

  it('reports a log that was rewritten, once it sees an entry of it', () => {
    expect(watching(10, 20).checkEntry(at(10, { hash: otherHash }))).toMatchObject({ kind: 'rewritten' });
  });

  it('reports a chain that went silent, until it signs anew; heads from before are no sign of life', () => {
    const watch = watching(10);
    expect(watch.silent(100_000, 60_000)).toMatchObject([{ kind: 'silent', chain: CHAIN }]);
    watch.observe(at(10), 90_000);
    expect(watch.silent(100_000, 60_000)).toMatchObject([{ kind: 'silent', chain: CHAIN }]);
    watch.observe(at(10, { signedAt: 90 }), 90_000);
    expect(watch.silent(100_000, 60_000)).toEqual([]);
  });

  it('keeps the newest heads, however many come', () => {
    const watch = new HeadWatch();
    const first = at(1);
    for (let seq = 1; seq <= 12_000; seq += 1) watch.observe({ ...first, seq }, seq);
    expect(watch.observe({ ...first, seq: 11_999, hash: otherHash }, 0)).toMatchObject({ kind: 'forked' });
  });
});
