import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { parse } from 'yaml';
import type { PlannedObject } from '../../domain/plan.ts';
import { printed } from '../../domain/plan-text/lines.ts';
import { planMarkdown } from '../../domain/plan-text/markdown.ts';
import { planCounts, planText } from '../../domain/plan-text/plan-text.ts';
import { scalarText, yamlLines } from '../../domain/plan-text/yaml.ts';
import { CHECKOUT, plannedObject, planOf, SETTINGS } from '../support/plans.ts';

const textOf = (...objects: PlannedObject[]) => Array.from(planText(planOf(objects)), printed);

/** A Deployment with what the API server adds to it. */
const deployment = (container: object = {}, spec: object = {}) => ({
  spec: {
    progressDeadlineSeconds: 600,
    replicas: 2,
    revisionHistoryLimit: 10,
    strategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: '25%', maxSurge: '25%' } },
    template: {
      spec: {
        containers: [
          {
            name: 'app',
            image: 'registry.example/app:1',
            imagePullPolicy: 'IfNotPresent',
            ports: [{ containerPort: 8080, protocol: 'TCP' }],
            resources: {},
            terminationMessagePath: '/dev/termination-log',
            terminationMessagePolicy: 'File',
            ...container,
          },
          { name: 'proxy', image: 'registry.example/proxy:1' },
        ],
        dnsPolicy: 'ClusterFirst',
        restartPolicy: 'Always',
        schedulerName: 'default-scheduler',
        securityContext: {},
        terminationGracePeriodSeconds: 30,
      },
    },
    ...spec,
  },
});

describe('the text of a plan', () => {
  it('shows what changes below the keys that lead to it, list items by their names', () => {
    const after = deployment(
      { image: 'registry.example/app:2', env: [{ name: 'LEVEL', value: '3' }], ports: [{ containerPort: 9090 }] },
      { replicas: 5 },
    );
    expect(textOf(plannedObject(CHECKOUT, deployment({ ports: [{ containerPort: 8080 }] }), after))).toEqual([
      '~ Deployment shop/checkout (apps/v1): update in step config',
      '  spec:',
      '-   replicas: 2',
      '+   replicas: 5',
      '    template:',
      '      spec:',
      '        containers:',
      '          - name: app',
      '+           env:',
      '+             - name: LEVEL',
      '+               value: "3"',
      '-           image: registry.example/app:1',
      '+           image: registry.example/app:2',
      '            ports:',
      '              - # item 0',
      '-               containerPort: 8080',
      '+               containerPort: 9090',
    ]);
  });

  it('shows a file in a ConfigMap line by line, with a few lines around what changes', () => {
    const file = (lines: readonly string[]) => ({ data: { 'app.conf': `${lines.join('\n')}\n`, mode: 'a' } });
    const before = Array.from({ length: 20 }, (_, index) => `line ${index}`);
    const after = [...before.slice(0, 9), 'another ', '\tone', ...before.slice(10)];
    expect(textOf(plannedObject(SETTINGS, file(before), file(after)))).toEqual([
      '~ ConfigMap shop/settings (v1): update in step config',
      '  data:',
      '    app.conf: |',
      '#     6 lines as before',
      ...['      line 6', '      line 7', '      line 8'],
      '-     line 9',
      ...['+     another·', '+     \\tone'],
      ...['      line 10', '      line 11', '      line 12'],
      '#     7 lines as before',
    ]);
  });

  it('shows where the last line of a file loses its end, as YAML tells it', () => {
    const text = textOf(plannedObject(SETTINGS, { data: { f: 'a\nb\n' } }, { data: { f: 'a\nb' } }));
    expect(text.slice(2)).toEqual(['-   f: |', '+   f: |-', '      a', '      b']);
  });

  it('shows a new object as somebody would write it, without what the API server fills in', () => {
    expect(textOf(plannedObject(CHECKOUT, undefined, deployment()))).toEqual([
      '+ Deployment shop/checkout (apps/v1): create in step config',
      '+ spec:',
      '+   replicas: 2',
      '+   template:',
      '+     spec:',
      '+       containers:',
      '+         - name: app',
      '+           image: registry.example/app:1',
      '+           ports:',
      '+             - containerPort: 8080',
      '+         - name: proxy',
      '+           image: registry.example/proxy:1',
    ]);
  });

  it.each([
    ['is not exactly the default', { resources: { limits: { cpu: '1' } } }, 'cpu: "1"'],
    ['pulls otherwise than its tag would', { imagePullPolicy: 'Always' }, 'imagePullPolicy: Always'],
    [
      'pulls otherwise than its tag would (latest)',
      { image: 'app', imagePullPolicy: 'IfNotPresent' },
      'imagePullPolicy: IfNotPresent',
    ],
  ])('shows what %s', (_, container, shown) => {
    expect(textOf(plannedObject(CHECKOUT, undefined, deployment(container))).join('\n')).toContain(shown);
  });

  it('leaves out a default only where it is one: not in data, not in kinds of others', () => {
    const values = { spec: { revisionHistoryLimit: 10, dnsPolicy: 'ClusterFirst' }, data: { restartPolicy: 'Always' } };
    for (const object of [SETTINGS, { ...CHECKOUT, apiVersion: 'example.com/v1' }]) {
      const text = textOf(plannedObject(object, undefined, values)).join('\n');
      expect(text).toMatch(/revisionHistoryLimit: 10[^]*|dnsPolicy: ClusterFirst/);
      expect(text).toContain('restartPolicy: Always');
    }
    expect(textOf(plannedObject(CHECKOUT, undefined, values)).join('\n')).toContain('dnsPolicy: ClusterFirst');
  });

  it('shows all that a deletion takes away', () => {
    const text = textOf(plannedObject(SETTINGS, { data: { a: '1' } }, undefined, { action: 'delete', step: 'clean' }));
    expect(text).toEqual(['- ConfigMap shop/settings (v1): delete in step clean', '- data:', '-   a: "1"']);
  });

  it('has two long values from where they part', () => {
    const long = (end: string) => ({ data: { json: `{"keys": [${'1, '.repeat(100)}${end}]}` } });
    const text = textOf(plannedObject(SETTINGS, long('2'), long('3')));
    expect(text[2]).toMatch(/^- {3}json: … ".{30,50}2\]}" \(after 270 equal characters\)$/);
    expect(text[3]).toMatch(/^\+ {3}json: … ".{30,50}3\]}" \(after 270 equal characters\)$/);
  });

  it.each<[string, Partial<PlannedObject>, string]>([
    [
      'could not be checked',
      { verified: { by: 'nobody', reason: 'the package itself creates the namespace shop' } },
      '; not verified: the package itself creates the namespace shop',
    ],
    ['builds on another step', { verified: { by: 'earlier-step', step: 'one' } }, '; follows from step one'],
    ['takes over fields', { force: true }, ', taking over fields of others'],
  ])('says of an object that it %s', (_, more, said) => {
    const [head] = textOf(plannedObject(SETTINGS, undefined, { data: { a: 'b' } }, more));
    expect(head).toBe(`+ ConfigMap shop/settings (v1): create in step config${said}`);
  });

  it('tells refusals first, and differences that were left out', () => {
    const omitted = plannedObject(SETTINGS, { data: { a: '1' } }, { data: {} }, { changes: [], changesOmitted: true });
    const problems = [{ step: 'config', object: CHECKOUT, message: 'spec.replica: field not declared' }];
    const changed = { ...omitted, change: 'update' } as const;
    expect(Array.from(planText(planOf([changed], { problems })), printed)).toEqual([
      '! Deployment shop/checkout (apps/v1): refused in step config: spec.replica: field not declared',
      '~ ConfigMap shop/settings (v1): update in step config',
      '#   the differences are too large to be carried in the plan; the digest covers them',
    ]);
  });

  it('counts what it does not show', () => {
    const same = plannedObject(SETTINGS, {}, {});
    const created = plannedObject(SETTINGS, undefined, {});
    const problems = [{ step: 'config', object: CHECKOUT, message: 'no' }];
    expect(textOf(same)).toEqual([]);
    expect(planCounts(planOf([same]))).toBe('nothing to change; 1 object stays as it is');
    expect(planCounts(planOf([created, created, same, same], { problems }))).toBe(
      '2 to create, 1 refused; 2 objects stay as they are',
    );
  });
});

describe('a value in the text of a plan', () => {
  const texts = fc.oneof(
    fc.string({ unit: 'grapheme' }),
    fc.constantFrom(
      ...['true', 'No', 'null', '~', '1', '1.5', '0x1f', '1e3', '12:30:45', '-', '--flag=x', '-x', '- a', 'a: b'],
      ...['a #b', '#', '', ' ', 'a ', '|', '>', '&a', '*a', '!a', '%a', '@a', '`a`', '"', "'", '{a}', '[a]', ',', '?'],
      ...['2026-01-01', '100m', '1Gi', '.5', '.inf', 'a:', ':a', 'a:b', '---', '...', '=', '<<', '_1', '1_000'],
    ),
  );

  it('stands on its line so that YAML reads the same value from it', () => {
    fc.assert(
      fc.property(fc.oneof(texts, fc.integer(), fc.boolean(), fc.constant(null)), texts, (value, key) => {
        expect(parse(`? ${scalarText(key)}\n: ${scalarText(value)}`)).toEqual({ [key]: value });
        for (const version of ['1.1', '1.2'] as const) {
          expect(parse(`k: ${scalarText(value)}`, { version })).toEqual({ k: value });
        }
      }),
      { numRuns: 2_000 },
    );
  });

  it('of any shape is YAML that reads the same', () => {
    const word = fc.constantFrom('name', 'a', 'b', 'x y', 'true', '1');
    const { value } = fc.letrec<{ value: unknown }>((tie) => ({
      value: fc.oneof(
        { maxDepth: 4 },
        fc.constantFrom(1, true, null, 'text', '8080', 'two\nlines', 'lines\n', {}, []),
        fc.dictionary(word, tie('value'), { maxKeys: 3 }),
        fc.array(tie('value'), { maxLength: 3 }),
      ),
    }));
    fc.assert(
      fc.property(value, (shape) => {
        const lines = [...yamlLines('key:', shape, 0, ['key'], () => false)];
        expect(parse(lines.join('\n'))).toEqual({ key: shape });
      }),
      { numRuns: 1_000 },
    );
  });
});

describe('hostile values in a plan', () => {
  it('make no key of an object that comes pass for the head of another one', () => {
    const forged = { 'Namespace prod (v1)': 'create in step config' };
    expect(textOf(plannedObject(SETTINGS, undefined, forged))).toEqual([
      '+ ConfigMap shop/settings (v1): create in step config',
      '+ "Namespace prod (v1)": create in step config',
    ]);
  });

  const piece = fc.constantFrom(
    '\n',
    '~ Namespace prod: delete',
    '+ a',
    '- a',
    '! x',
    '```',
    '\r',
    '\u2028',
    '\u001b[2J',
    'x',
  );
  const hostile = fc.array(piece, { maxLength: 8 }).map((pieces) => pieces.join(''));

  it('make no line of their own: each stands behind the mark of what it is', () => {
    fc.assert(
      fc.property(hostile, hostile, hostile, (key, before, after) => {
        const object = { ...SETTINGS, name: after, namespace: key };
        const text = textOf(
          plannedObject(object, { data: { [key]: before, k: after } }, { data: { [key]: after, k: before } }),
        );
        expect(text.filter((line) => /^[~!]/.test(line)).length).toBe(before === after ? 0 : 1);
        for (const line of text) expect(line).not.toMatch(/[\p{Cc}\u2028]/u);
        for (const line of text) expect(line).toMatch(/^([~+#-]( |$)| {2}|$)/);
      }),
    );
  });

  it('cost little, whatever their size', () => {
    const manyLines = (odd: number) => Array.from({ length: 200_000 }, (_, index) => String(index % odd)).join('\n');
    const deep = (end: unknown) =>
      JSON.parse(`${'{"a":'.repeat(2_000)}${JSON.stringify(end)}${'}'.repeat(2_000)}`) as object;
    const objects = [
      plannedObject(SETTINGS, { data: { a: manyLines(7) } }, { data: { a: manyLines(11) } }),
      plannedObject(SETTINGS, { data: { a: 'x'.repeat(2_000_000) } }, { data: { a: `${'x'.repeat(2_000_000)}y` } }),
      plannedObject(SETTINGS, deep(1), undefined),
      ...Array.from({ length: 1_000 }, () => plannedObject(SETTINGS, { data: { a: '1' } }, { data: { a: '2' } })),
    ];
    const startedAt = performance.now();
    planMarkdown(planOf(objects));
    // In a workflow task, which Temporal takes for stuck after two seconds.
    expect(performance.now() - startedAt).toBeLessThan(1_000);
  });
});

describe('a large plan in the Temporal UI', () => {
  const changing = (name: string, lines: number) => {
    const data = (value: string) =>
      Object.fromEntries(Array.from({ length: lines }, (_, index) => [`k${index}`, value]));
    return plannedObject({ ...SETTINGS, name }, { data: data('a') }, { data: data('b') });
  };
  const heads = (lines: readonly string[]) => lines.filter((line) => line.startsWith('~'));

  it('has a part of each object, and all of the short ones, where one object alone would fill it', () => {
    const objects = [
      changing('large', 500),
      ...Array.from({ length: 19 }, (_, index) => changing(`small-${index}`, 1)),
    ];
    const lines = planMarkdown(planOf(objects));
    expect(heads(lines)).toHaveLength(20);
    expect(lines.length).toBeLessThan(130);
    expect(lines.filter((line) => line.startsWith('#'))).toEqual([
      '#   more of this object: byoc show and the query plan have all of it',
    ]);
  });

  it('counts the objects that it has no room for', () => {
    const objects = Array.from({ length: 1_000 }, (_, index) => changing(`many-${index}`, 1));
    const lines = planMarkdown(planOf(objects));
    expect(heads(lines)).toHaveLength(30);
    expect(lines).toContain('# 970 more objects would change: byoc show and the query plan have all of it');
    expect(lines[0]).toBe('1000 to update.');
  });

  it('counts the refusals that it has no room for', () => {
    const problems = Array.from({ length: 100 }, () => ({ step: 'config', object: SETTINGS, message: 'no' }));
    const lines = planMarkdown(planOf([changing('one', 1)], { problems }));
    expect(lines).toContain('# 60 more objects refused: byoc show and the query plan have all of it');
    expect(heads(lines)).toHaveLength(1);
  });
});
