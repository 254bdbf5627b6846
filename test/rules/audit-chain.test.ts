import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';

import { verifyAudit } from '../../client/audit-verify.ts';
import type { AuditReport } from '../../client/audit-verify.ts';
import { EventCounter } from '../../client/event-counter.ts';
import { sha256 } from '../../client/sha256.ts';
import { checkLine } from '../../domain/audit-chain.ts';
import { parseAuditEvent, parseRangeName, rangeName } from '../../domain/audit.ts';
import { canonicalJson } from '../../domain/digest.ts';
import { chainOf, fileOf, textOf } from '../support/audit-chains.ts';

// R18, R21

const verifyLines = (lines: readonly string[]) => verifyAudit([fileOf('log.jsonl', textOf(lines))]);
const places = (report: AuditReport) => report.problems.map(({ kind, file, line }) => `${kind} ${file}:${line}`);

describe('an intact log', () => {
  it('verifies and tells entries, numbers and head', async () => {
    const lines = chainOf(50);
    const report = await verifyLines(lines);
    expect(report).toMatchObject({ ok: true, problemCount: 0 });
    expect(report.chains).toMatchObject([{ chain: 'prod-eu-1.w1', entries: 50, firstSeq: 1, lastSeq: 50 }]);
    expect(lines.at(-1)).toContain(`"hash":"${report.chains[0]?.head}"`);
  });

  it('verifies whatever the values are and however it is cut into chunks', async () => {
    const detail = fc.dictionary(fc.string({ unit: 'binary' }), fc.jsonValue());
    await fc.assert(
      fc.asyncProperty(detail, fc.integer({ min: 1, max: 700 }), async (value, chunkBytes) => {
        const report = await verifyAudit([fileOf('log.jsonl', textOf(chainOf(3, { detail: value })), chunkBytes)]);
        expect(report.ok).toBe(true);
      }),
    );
  });

  it('is written in the form of RFC 8785, whatever the values and their names are', () => {
    const name = fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('10', '9', '01', '__proto__', '\u00e9', 'é'));
    fc.assert(
      fc.property(fc.dictionary(name, fc.jsonValue()), (value) => {
        const [line = ''] = chainOf(1, { detail: { outer: value, list: [value] } });
        const text = line.slice('{"entry":'.length, line.lastIndexOf(',"hash":'));
        expect(text).toBe(canonicalJson(JSON.parse(text)));
      }),
    );
  });

  it('keeps control characters and line separators inside one line', () => {
    const nasty = { text: 'a\r\nb\u001b[31mc\u2028d\u0000', lone: '\ud800' };
    const [line = ''] = chainOf(1, { detail: nasty });
    expect(line).not.toMatch(/[\r\n\u0000\u001b]/);
    expect(checkLine(Buffer.from(line), sha256).ok).toBe(true);
    expect(JSON.parse(line).entry.detail).toEqual({ text: 'a\r\nb\u001b[31mc\u2028d\u0000', lone: '\ufffd' });
  });

  it('may hold an older time where the entry says that the clock went back, and nowhere else', async () => {
    const timeOf = (n: number) => `2026-01-01T00:00:0${n === 2 ? 5 : n}.000Z`;
    const told = chainOf(3, { timeOf, typeOf: (n) => (n === 3 ? 'audit.clock-stepped-back' : 'vote.recorded') });
    expect((await verifyLines(told)).ok).toBe(true);
    expect(places(await verifyLines(chainOf(3, { timeOf })))).toEqual(['clock log.jsonl:3']);
  });

  it('may be spread over files given in any order, many chains together', async () => {
    const [a, b] = [chainOf(9), chainOf(4, { chain: 'prod-eu-1.w2' })];
    const files = [fileOf('a/2', textOf(a.slice(5))), fileOf('b/1', textOf(b)), fileOf('a/1', textOf(a.slice(0, 5)))];
    const report = await verifyAudit(files);
    expect(report.problems).toEqual([]);
    expect(report.chains.map(({ chain, entries }) => [chain, entries])).toEqual([
      ['prod-eu-1.w1', 9],
      ['prod-eu-1.w2', 4],
    ]);
  });
});

describe('a log that somebody touched', () => {
  const lines = chainOf(50);

  it('does not verify with any single byte flipped, and names the line', async () => {
    const whole = Buffer.from(textOf(chainOf(50)));
    const problems: string[] = [];
    for (let at = 0; at < whole.length; at += 1) {
      const changed = Buffer.from(whole);
      changed[at] = (changed[at] ?? 0) ^ (1 << (at % 8));
      const report = await verifyAudit([fileOf('log.jsonl', changed)]);
      const line = whole.subarray(0, at).filter((byte) => byte === 10).length + 1;
      if (report.ok || report.problems[0]?.line !== line) problems.push(`byte ${at}: ${places(report).join()}`);
    }
    expect(problems).toEqual([]);
  });

  it.each([0, 24, 48])('names entry %i + 1 as missing when its line is dropped', async (index) => {
    const report = await verifyLines(lines.toSpliced(index, 1));
    const problem = { kind: 'missing', line: index + 1, expected: `entry ${index + 1}`, found: `entry ${index + 2}` };
    expect(report.problems).toMatchObject([problem]);
  });

  it('names each pair of swapped neighbours once, as reordered', async () => {
    for (let at = 0; at < lines.length - 1; at += 1) {
      const swapped = lines.toSpliced(at, 2, lines[at + 1] ?? '', lines[at] ?? '');
      expect(places(await verifyLines(swapped))).toEqual([`reordered log.jsonl:${at + 1}`]);
    }
  });

  it('names each duplicated line', async () => {
    for (let at = 0; at < lines.length; at += 1) {
      const doubled = lines.toSpliced(at, 0, lines[at] ?? '');
      expect(places(await verifyLines(doubled))).toEqual([`duplicated log.jsonl:${at + 2}`]);
    }
  });

  it('names entries of another chain', async () => {
    const foreign = chainOf(20, { chain: 'prod-eu-1.w2' })[9] ?? '';
    expect(places(await verifyLines(lines.toSpliced(10, 0, foreign)))).toEqual(['foreign log.jsonl:11']);
  });

  it('names the seam where the tail of another log with the same name was spliced in', async () => {
    const other = chainOf(50, { detail: { comment: 'something else' } });
    const spliced = [...lines.slice(0, 20), ...other.slice(20)];
    expect(places(await verifyLines(spliced))).toEqual(['broken-link log.jsonl:21']);
  });

  it('names an entry whose content and hash were both replaced', async () => {
    const other = chainOf(50, { detail: { comment: 'something else' } });
    const report = await verifyLines(lines.toSpliced(20, 1, other[20] ?? ''));
    expect(places(report)[0]).toBe('broken-link log.jsonl:21');
  });

  it('does not accept a name that stands twice in an entry, although the hash is right', async () => {
    const entry = (lines[0] ?? '').slice('{"entry":'.length, -82).replace('{', '{"seq":7,');
    const forged = `{"entry":${entry},"hash":"${sha256(entry)}"}`;
    expect((await verifyLines([forged])).problems).toMatchObject([{ kind: 'malformed', expected: 'canonical JSON' }]);
  });

  it('is torn when its last line has no end', async () => {
    const text = textOf(lines).slice(0, -100);
    expect(places(await verifyAudit([fileOf('log.jsonl', text)]))).toEqual(['torn log.jsonl:50']);
  });

  it('does not verify when a file does not hold the range that its name tells', async () => {
    const name = `w1/${rangeName(1, 50)}`;
    expect((await verifyAudit([fileOf(name, textOf(lines))])).ok).toBe(true);
    const cut = await verifyAudit([fileOf(name, textOf(lines.slice(0, 48)))]);
    expect(cut.problems).toMatchObject([{ kind: 'missing' }]);
  });

  it('does not verify when it is empty', async () => {
    expect(await verifyAudit([])).toMatchObject({ ok: false, chains: [] });
    expect(await verifyLines([])).toMatchObject({ ok: false, chains: [] });
  });

  it('gives a verdict on any bytes', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (bytes) => {
        expect((await verifyAudit([fileOf('log.jsonl', bytes)])).ok).toBe(false);
      }),
    );
  });

  it('shows what it found without control characters', async () => {
    const report = await verifyLines(['\u001b[2Jgone\u202e']);
    expect(report.problems[0]?.found).toBe('"\\u001b[2Jgone\\u202e"');
  });
});

describe('a log without its beginning', () => {
  it('verifies only where that is accepted', async () => {
    const file = fileOf('log.jsonl', textOf(chainOf(50).slice(30)));
    expect(places(await verifyAudit([file]))).toEqual(['missing log.jsonl:1']);
    expect(await verifyAudit([file], { partial: true })).toMatchObject({ ok: true, chains: [{ firstSeq: 31 }] });
  });
});

describe('an event', () => {
  const actor = { id: 'x', proof: 'system' };
  const detail = { activity: 'a', code: 'INTERNAL', detail: '', workflowType: 'w' };
  const event = { eventId: 'e', type: 'call.refused', actor, outcome: 'refused', detail };

  it.each([
    ['an unknown type', { ...event, type: 'package.vanished' }],
    ['an unknown field', { ...event, chain: 'mine' }],
    ['a digest that is none', { ...event, planDigest: 'sha256:1' }],
    ['a list as detail', { ...event, detail: [] }],
    ['a detail that the catalogue does not have', { ...event, detail: { ...detail, token: 's.1234' } }],
    ['a detail that lacks something', { ...event, detail: { ...detail, code: undefined } }],
  ])('with %s is refused', (_, bad) => {
    expect(() => parseAuditEvent(bad)).toThrow(expect.objectContaining({ code: 'INTERNAL' }));
  });

  it('that would make a line too long is refused', () => {
    expect(() => chainOf(1, { detail: { text: 'x'.repeat(1024 * 1024) } })).toThrow(
      expect.objectContaining({ code: 'INTERNAL' }),
    );
  });
});

describe('the name of a range', () => {
  it('sorts as its numbers do and can be read back', () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(), (a, b) => {
        expect(rangeName(a, b) < rangeName(a, b + 1)).toBe(true);
        expect(parseRangeName(`prefix/chain/${rangeName(a, b)}`)).toEqual({ first: a, last: b });
      }),
    );
  });
});

describe('a line that is made to harm who verifies it', () => {
  it('with lists in lists too deep for the stack is malformed', () => {
    const depth = 200_000;
    const [line = ''] = chainOf(1, { detail: { comment: 'HERE' } });
    const entry = line
      .slice('{"entry":'.length, line.lastIndexOf(',"hash":'))
      .replace('"HERE"', `${'['.repeat(depth)}${']'.repeat(depth)}`);
    const bytes = Buffer.from(`{"entry":${entry},"hash":"${sha256(entry)}"}`);
    expect(checkLine(bytes, sha256)).toMatchObject({ ok: false, kind: 'malformed', expected: 'canonical JSON' });
  });
});

describe('counting events', () => {
  it('tells how many came again, and nothing once there are too many to tell', () => {
    const counter = new EventCounter(2 ** 12);
    for (let n = 0; n < 3_000; n += 1) counter.add(`e${n % 2_000}`);
    expect(counter.repeated).toBe(1_000);
    for (let n = 0; n < 10_000; n += 1) counter.add(`f${n}`);
    expect(counter.repeated).toBeUndefined();
  });

  it('takes no more time for an event when there are too many than before', () => {
    const counter = new EventCounter(2 ** 18);
    const timeOf = (from: number) => {
      const startedAt = performance.now();
      for (let n = from; n < from + 20_000; n += 1) counter.add(`e${n}`);
      return performance.now() - startedAt;
    };
    for (let n = 0; n < 200_000; n += 1) counter.add(`x${n}`);
    expect(timeOf(0)).toBeLessThan(2_000); // a new array of 2 MiB for each of them takes longer
  });
});
