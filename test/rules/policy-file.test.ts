import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { checkPolicy, parsePolicy, policySource } from '../../activities/policy/load-policy.ts';
import { sha256 } from '../../client/sha256.ts';
import { BUILT_IN_POLICY, policyDigest, policySchema } from '../../domain/policy.ts';

const HEAD = 'apiVersion: neuralops.io/v1\nkind: Policy\n';
const digestOf = (text: string) => policyDigest(sha256, parsePolicy(text));
const problemsOf = (text: string) =>
  checkPolicy(text).problems.map(({ detail, place }) => `${place?.line}:${place?.column} ${detail}`);

describe('a policy file', () => {
  it('is read with its defaults', () => {
    expect(parsePolicy(HEAD)).toEqual(BUILT_IN_POLICY);
  });

  it('of an earlier version is as good as ever', () => {
    const text = `${HEAD}allow: { kinds: [ConfigMap], images: [registry.example.com/shop] }
approvals: { acceptAsserted: true, low: 1, medium: 1, high: 2, timeoutSeconds: 60 }
autoApprove: [{ playbook: a, stepsDigest: 'sha256:${'1'.repeat(64)}' }]
maxValiditySeconds: 60
`;
    expect(parsePolicy(text)).toMatchObject({ approvals: { high: { quorum: 2, groups: [] } }, windows: [] });
  });

  it.each([
    ['a misspelt field', `${HEAD}autoAprove: []\n`],
    ['a wrong type', `${HEAD}maxValiditySeconds: soon\n`],
    ['broken YAML', 'apiVersion: [\n'],
    ['a key twice', `${HEAD}kind: Policy\n`],
    ['nothing', ''],
    ['an alias', 'apiVersion: &a neuralops.io/v1\nkind: *a\n'],
    ['a tag', 'apiVersion: neuralops.io/v1\nkind: !other Policy\n'],
    ['a second document', `${HEAD}---\n${HEAD}`],
    ['another version of YAML', `%YAML 1.1\n---\n${HEAD}approvals: { acceptAsserted: yes }\n`],
    ['a key __proto__', `${HEAD}__proto__: { approvals: {} }\n`],
    ['more than a ConfigMap can hold', `${HEAD}#${'-'.repeat(1024 * 1024)}\n`],
  ])('with %s is refused', (_, text) => {
    expect(() => parsePolicy(text)).toThrow(expect.objectContaining({ code: 'POLICY_INVALID' }));
  });

  it('names the line of a wrong value', () => {
    expect(() => parsePolicy(`${HEAD}approvals:\n  high: many\n`)).toThrow(/line 4, column 9, at \/approvals\/high/);
  });

  it('is told everything that is wrong with it, in its order', () => {
    const text = `kind: Policy
aprovals: {}
alow: {}
allow:
  actions: [apply, aply]
approvals:
  low: 99
  medium: { quorum: 2, group: [sre] }
  high: many
  maxClockSkewSeconds: 601
  pinnedKeys: [abc]
signing:
  keyless: [{ identity: 'https://github.com/*', issuer: '' }]
limits: { maxSteps: 0 }
`;
    expect(problemsOf(text)).toEqual([
      '1:1 Missing: must be "neuralops.io/v1".',
      '2:1 Unknown field "aprovals"; did you mean "approvals"?',
      '3:1 Unknown field "alow"; did you mean "allow"?',
      '5:20 Must be "apply", "patch", "scale", "restart", "delete", "run", "wait", "rollback", "cordon", "uncordon" or "drain", not "aply".',
      '7:8 Must be at most 10.',
      '8:24 Unknown field "group"; did you mean "groups"?',
      '9:9 Must be a number or an object, not "many".',
      '10:24 Must be at most 600.',
      '11:16 Must be the fingerprint of a key: base64 of the SHA-256 of its SPKI DER, as byoc verify prints it.',
      '13:25 Is matched exactly, so it cannot be a pattern.',
      '13:57 Must not be empty.',
      '14:21 Must be at least 1.',
    ]);
  });

  it('pins a key once, so that no two pins contradict each other', () => {
    const key = 'mEmSkNDT6DfR9Tq1FhRwIpyZSL7rSLxDaJ/FQcr1bSk=';
    expect(problemsOf(`${HEAD}approvals:\n  pinnedKeys:\n    - ${key}\n    - fingerprint: ${key}\n`)).toEqual([
      '6:7 Is pinned already; a key is pinned once.',
    ]);
  });

  it('says how many problems there are where it names one', () => {
    expect(() => parsePolicy(`${HEAD}a: 1\nb: 2\n`)).toThrow(/"a"\. \(Problem 1 of 2;/);
  });

  it('is told all errors of its YAML', () => {
    expect(problemsOf('kind: Policy\nkind: Policy\nallow: {}\nallow: {}\n')).toEqual([
      '2:1 Map keys must be unique.',
      '4:1 Map keys must be unique.',
    ]);
  });
});

describe('a maintenance window in a policy file', () => {
  const weekly = { name: 'a', effect: 'allow', timeZone: 'Europe/Berlin', days: '[mon]', from: '09:00', to: '17:00' };
  const absolute = {
    name: 'a',
    effect: 'deny',
    timeZone: 'Europe/Berlin',
    start: '2026-12-24T00:00',
    end: '2026-12-27T00:00',
  };
  const check = (...windows: object[]) => {
    const lines = windows.map((fields) =>
      Object.entries(fields)
        .map(([key, value], index) => `${index === 0 ? '  - ' : '    '}${key}: ${value}\n`)
        .join(''),
    );
    return problemsOf(`${HEAD}windows:\n${lines.join('')}`);
  };
  const { name, effect, timeZone, from, to } = weekly;

  it.each([
    ['weekly', weekly],
    ['weekly, with quotes that YAML does not need', { ...weekly, from: '"09:00"' }],
    ['absolute', absolute],
    ['absolute with seconds', { ...absolute, start: '2026-12-24T00:00:30' }],
    ['for some playbooks', { ...weekly, playbooks: '[restart]' }],
    ['in UTC', { ...weekly, timeZone: 'UTC' }],
  ])('may be %s', (_, window) => {
    expect(check(window)).toEqual([]);
  });

  it.each([
    [{ ...weekly, timeZone: 'Europe/Berlim' }, '6:15 Must be an IANA time zone, such as Europe/Berlin.'],
    [{ ...weekly, timeZone: '"+01:00"' }, '6:15 Must be an IANA time zone, such as Europe/Berlin.'],
    [{ ...weekly, to: '24:00' }, '9:9 Must be a time of day, such as "09:00".'],
    [{ ...weekly, from: '9:00' }, '8:11 Must be a time of day, such as "09:00".'],
    [{ ...weekly, days: '[monday]' }, '7:12 Must be "sun", "mon", "tue", "wed", "thu", "fri" or "sat", not "monday".'],
    [{ ...weekly, days: '[]' }, '7:11 Must not be empty.'],
    [{ ...weekly, day: '[mon]' }, '10:5 Unknown field "day"; did you mean "days"?'],
    [{ name, effect, timeZone, from, to }, '4:5 Missing: an array is required here.'],
    [{ name, effect, timeZone }, '4:5 Needs "days", "from" and "to", or "start" and "end".'],
    [{ ...absolute, start: '2026-02-30T00:00' }, '7:12 Must be a day that the calendar has.'],
    [
      { ...absolute, start: '2026-12-24T00:00Z' },
      '7:12 Must be a date and time without a zone, such as 2026-12-24T18:00.',
    ],
    [{ ...absolute, end: '2026-12-24T00:00' }, '8:10 Must be later than "start".'],
    [{ ...absolute, days: '[mon]' }, '9:5 Unknown field "days".'],
  ])('%j is refused with its place', (window, problem) => {
    expect(check(window)).toEqual([problem]);
  });

  it('needs a name of its own', () => {
    expect(check(weekly, { ...absolute, effect: 'forbid' })).toEqual([
      '10:11 Another window has this name already.',
      '11:13 Must be "allow" or "deny", not "forbid".',
    ]);
  });
});

describe("a policy's digest", () => {
  it('is the same however the policy is written', () => {
    const terse = `${HEAD}approvals: {high: 3}\n`;
    const verbose = `# why\nkind: "Policy"\napprovals:\n  high:\n    groups: []\n    quorum: 3\n  low: 1\napiVersion: neuralops.io/v1\n`;
    expect(digestOf(verbose)).toBe(digestOf(terse));
  });

  it('is another for any other policy', () => {
    const texts = [
      '',
      'approvals: {high: 3}\n',
      'approvals: {high: {quorum: 3, groups: [sre]}}\n',
      'limits: {maxSteps: 3}\n',
    ];
    expect(new Set(texts.map((text) => digestOf(HEAD + text))).size).toBe(texts.length);
  });

  it('is that of the policy read from its own normal form', () => {
    expect(policyDigest(sha256, policySchema.parse(BUILT_IN_POLICY))).toBe(policyDigest(sha256, BUILT_IN_POLICY));
  });
});

describe('the source of the policy', () => {
  it('gives the file as it is at each call', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'byoc-policy-'));
    const path = join(folder, 'policy.yaml');
    const load = policySource(path, sha256);
    await expect(load()).rejects.toMatchObject({ code: 'POLICY_INVALID' });
    await writeFile(path, HEAD);
    expect((await load()).policy).toEqual(BUILT_IN_POLICY);
    await writeFile(path, `${HEAD}approvals: { low: 3 }\n`);
    expect((await load()).policy.approvals.low).toEqual({ quorum: 3, groups: [] });
    await writeFile(path, Buffer.from([0xff, 0xfe]));
    await expect(load()).rejects.toThrow(/not UTF-8/);
    await rm(folder, { recursive: true });
  });
});
