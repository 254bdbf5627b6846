import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { diffPaths } from '../../domain/diff.ts';
import { pointerSegments } from '../../domain/json-pointer.ts';

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

  it('tell what comes and goes as a whole', () => {
    expect(diffPaths({ gone: { deep: 1 }, stays: 1 }, { stays: 1, new: [1] })).toEqual([
      { path: '/gone', before: { deep: 1 } },
      { path: '/new', after: [1] },
    ]);
    expect(diffPaths(undefined, { a: 1 })).toEqual([{ path: '', after: { a: 1 } }]);
    expect(diffPaths({ a: 1 }, undefined)).toEqual([{ path: '', before: { a: 1 } }]);
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
      { path: '/0/image', before: 'x', after: 'z' },
    ]);
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
