import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { diffPaths } from '../../domain/diff.ts';
import { pointerSegments } from '../../domain/json-pointer.ts';

/** Values that often share keys, names and items, as states of one object do. */
const { value: alike } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.constantFrom(1, 2, 'x', null, {}),
    fc.dictionary(fc.constantFrom('a', 'b', 'name', '0', 'metadata'), tie('value'), { maxKeys: 3 }),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.array(fc.record({ name: fc.constantFrom('x', 'y', 'z'), a: tie('value') }), { maxLength: 3 }),
  ),
}));

describe('the differences between two values', () => {
  it('are none between equal ones', () => {
    fc.assert(fc.property(fc.jsonValue(), (value) => expect(diffPaths(value, structuredClone(value))).toEqual([])));
  });

  it('are some between different ones, the same at each time', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (a, b) => {
        const [left, right] = [JSON.stringify(a), JSON.stringify(b)].map((text) => JSON.parse(text) as unknown);
        fc.pre(!equal(left, right));
        expect(diffPaths(left, right)).not.toEqual([]);
        expect(diffPaths(structuredClone(left), right)).toEqual(diffPaths(left, right));
      }),
    );
  });

  it('lead to what they tell: each path holds its `before` on one side or its `after` on the other', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.dictionary(fc.string(), fc.jsonValue()), (a, b) => {
        for (const { path, ...change } of diffPaths(a, b)) {
          if ('after' in change) expect(valueAt(b, path)).toEqual(change.after);
          else expect(valueAt(a, path)).toEqual(change.before);
        }
      }),
    );
  });

  it('tell what goes as a whole, and what comes by what it holds', () => {
    expect(
      diffPaths({ gone: { deep: 1 }, stays: 1 }, { stays: 1, list: [{ a: 1 }], map: { a: { b: 1 }, c: {} } }),
    ).toEqual([
      { path: '/gone', before: { deep: 1 } },
      { path: '/list', after: [{ a: 1 }] },
      { path: '/map/a/b', after: 1 },
      { path: '/map/c', after: {} },
    ]);
    expect(diffPaths(undefined, { a: 1 })).toEqual([{ path: '', after: { a: 1 } }]);
    expect(diffPaths({ a: 1 }, undefined)).toEqual([{ path: '', before: { a: 1 } }]);
  });

  it('are the same whether or not somebody else has put something beside them', () => {
    const with_ = (annotations?: object) => ({ metadata: { name: 'x', ...(annotations && { annotations }) } });
    const added = [{ path: '/metadata/annotations/ours', after: '1' }];
    expect(diffPaths(with_(), with_({ ours: '1' }))).toEqual(added);
    expect(diffPaths(with_({ theirs: '2' }), with_({ theirs: '2', ours: '1' }))).toEqual(added);
    const removed = [{ path: '/metadata/annotations/ours', before: '1' }];
    expect(diffPaths(with_({ ours: '1' }), with_())).toEqual(removed);
    expect(diffPaths(with_({ theirs: '2', ours: '1' }), with_({ theirs: '2' }))).toEqual(removed);
  });

  it('tell a map that goes from one that is emptied', () => {
    const before = { volume: { emptyDir: { medium: 'Memory' } } };
    expect(diffPaths(before, { volume: {} })).toEqual([{ path: '/volume/emptyDir', before: { medium: 'Memory' } }]);
    expect(diffPaths(before, { volume: { emptyDir: {} } })).toEqual([
      { path: '/volume/emptyDir/medium', before: 'Memory' },
    ]);
  });

  it('with the former value give the later one: no two outcomes have the same differences', () => {
    fc.assert(
      fc.property(alike, alike, alike, (before, one, other) => {
        if (!equal(one, other)) expect(diffPaths(before, one)).not.toEqual(diffPaths(before, other));
      }),
    );
  });

  it('escape keys as RFC 6901 does', () => {
    expect(diffPaths({ 'a/b~c': 1 }, { 'a/b~c': 2 })).toEqual([{ path: '/a~1b~0c', before: 1, after: 2 }]);
  });

  it('show a named item that comes first as one item more', () => {
    const [app, proxy] = [
      { name: 'app', image: 'x' },
      { name: 'proxy', image: 'y' },
    ];
    expect(diffPaths([app], [proxy, app])).toEqual([{ path: '/0', after: proxy }]);
    expect(diffPaths([proxy, app], [{ ...app, image: 'z' }])).toEqual([
      { path: '/0', before: proxy },
      { path: '/0/image', before: 'x', after: 'z', names: { '/0': 'app' } },
    ]);
  });

  it('say what the items on the way are called, so that an index that means another one is another difference', () => {
    const containers = (...names: string[]) => ({ containers: names.map((name) => ({ name, image: 'a' })) });
    const first = (object: { containers: { name: string; image: string }[] }) => ({
      containers: object.containers.map((one, index) => (index === 0 ? { ...one, image: 'b' } : one)),
    });
    const [app, proxy] = [containers('app', 'proxy'), containers('proxy', 'app')];
    expect(diffPaths(app, first(app))).toEqual([
      { path: '/containers/0/image', before: 'a', after: 'b', names: { '/containers/0': 'app' } },
    ]);
    expect(diffPaths(proxy, first(proxy))).not.toEqual(diffPaths(app, first(app)));
  });

  it('show named items that change places, because their order means something', () => {
    expect(diffPaths([{ name: 'a' }, { name: 'b' }], [{ name: 'b' }, { name: 'a' }])).toHaveLength(2);
  });
});

function equal(a: unknown, b: unknown): boolean {
  try {
    expect(a).toEqual(b);
    return true;
  } catch {
    return false;
  }
}

function valueAt(value: unknown, pointer: string): unknown {
  return pointerSegments(pointer).reduce((inner, key) => (inner as Record<string, unknown>)[key], value);
}
