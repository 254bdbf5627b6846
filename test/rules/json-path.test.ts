import { describe, expect, it } from '@jest/globals';
import { parseJsonPath, valuesAt } from '../../domain/json-path.ts';

const OBJECT = {
  metadata: { annotations: { 'example.com/a.b': 'x', "it's": 'y' } },
  status: {
    phase: 'Running',
    nothing: null,
    conditions: [
      { type: 'Ready', status: 'True', source: { id: 7 } },
      { type: 'Synced', status: 'False', source: { id: 8 } },
    ],
    ports: [80, 443],
  },
};

const at = (path: string) => {
  const parsed = parseJsonPath(path);
  return parsed && valuesAt(OBJECT, parsed);
};

describe('a JSONPath to one value', () => {
  it.each([
    ['{.status.phase}', ['Running']],
    ['.status.phase', ['Running']],
    ['$.status.phase', ['Running']],
    ["$['status']['phase']", ['Running']],
    ['{.status.ports[1]}', [443]],
    ['{.status.ports[-1]}', [443]],
    ['{.status.ports[9]}', []],
    ['{.status.conditions[?(@.type=="Ready")].status}', ['True']],
    ["{.status.conditions[?(@.source.id == '8')].type}", ['Synced']],
    ['{.metadata.annotations["example.com/a.b"]}', ['x']],
    ["{.metadata.annotations['it\\'s']}", ['y']],
    ['{.status.nothing}', [null]],
    ['{.status.phase.length}', []],
    ['{.constructor}', []],
    ['{.status.conditions.type}', []],
  ])('%s leads to %j', (path, values) => {
    expect(at(path)).toEqual(values);
  });

  it.each([
    '',
    '{}',
    '$',
    'status',
    '{.a',
    '..a',
    '.a[*]',
    '.a[0:2]',
    '.a[?(@.b)]',
    '.a[?(@.b>1)]',
    '.a b',
    '{.a}{.b}',
  ])('is not %j', (path) => {
    expect(parseJsonPath(path)).toBeUndefined();
  });
});
