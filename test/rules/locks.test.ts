import { describe, expect, it } from '@jest/globals';
import type { Holder, LockTable } from '../../domain/locks.ts';
import { blockerOf, claimsOf, readHolder, writeHolder } from '../../domain/locks.ts';
import type { Step } from '../../domain/wpk.ts';
import { applyStep, buildWpk, configMap } from '../support/packages.ts';

const holder = (steps: readonly Step[]): Holder => ({
  runId: 'run',
  executor: 'executor',
  since: '2026-01-31T12:00:00.000Z',
  ...claimsOf(buildWpk({ steps })),
});
const blocks = (first: readonly Step[], second: readonly Step[]): string | undefined => {
  const table: LockTable = new Map([['A', holder(first)]]);
  return blockerOf(table, 'B', holder(second))?.hash;
};

const settings = (name: string, namespace = 'shop') => applyStep(configMap(name, namespace, {}));
const scale = (kind: string, name: string, apiVersion?: string): Step => ({
  id: 'scale',
  action: 'scale',
  target: { kind, name, namespace: 'shop', ...(apiVersion && { apiVersion }) },
  replicas: 1,
});
const remove = (kind: string, name: string): Step => ({ id: 'remove', action: 'delete', target: { kind, name } });

describe('a package that others may have to wait for', () => {
  it.each<[string, Step[], Step[], string | undefined]>([
    ['the same object', [settings('a')], [settings('b'), settings('a')], 'ConfigMap shop/a'],
    ['other objects', [settings('a')], [settings('b')], undefined],
    ['an object of the same name elsewhere', [settings('a')], [settings('a', 'bank')], undefined],
    ['an object of another kind', [scale('Deployment', 'a')], [scale('StatefulSet', 'a')], undefined],
    [
      'the same object by another API version',
      [scale('Deployment', 'a')],
      [scale('Deployment', 'a', 'apps/v1')],
      'Deployment shop/a',
    ],
    ['what is in a namespace that goes', [remove('Namespace', 'shop')], [settings('a')], 'everything in shop'],
    ['a namespace in which it works', [settings('a')], [remove('Namespace', 'shop')], 'everything in shop'],
    ['a namespace that goes elsewhere', [settings('a')], [remove('Namespace', 'bank')], undefined],
  ])('holds up one that touches %s only where it must', (_, first, second, expected) => {
    expect(blocks(first, second)).toBe(expected);
  });

  it('does not wait for itself', () => {
    expect(blockerOf(new Map([['A', holder([settings('a')])]]), 'A', holder([settings('a')]))).toBeUndefined();
  });

  it('is kept as text and read again', () => {
    const one = holder([settings('a'), remove('Node', 'worker')]);
    const short = { ...one, alone: ['x', 'y'], within: [] };
    expect(readHolder(writeHolder(short))).toEqual(short);
  });

  it('is waited for where the text cannot be read', () => {
    expect(() => readHolder('?')).toThrow(expect.objectContaining({ code: 'OBJECTS_LOCKED' }));
  });
});
