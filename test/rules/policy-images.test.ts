import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { policySchema, resultDenials } from '../../domain/policy.ts';

// R37: an image is judged by what it names, not by how it is written.

const denialsOf = (images: readonly string[], ...objects: unknown[]) =>
  resultDenials(policySchema.parse({ apiVersion: 'neuralops.io/v1', kind: 'Policy', allow: { images } }), objects);
const deployment = (image: string) => ({
  kind: 'Deployment',
  spec: { template: { spec: { containers: [{ name: 'web', image }] } } },
});
const isAllowed = (entry: string, image: string) => denialsOf([entry], deployment(image)).length === 0;
const D1 = `sha256:${'1'.repeat(64)}`;
const D2 = `sha256:${'2'.repeat(64)}`;

describe('an allow-list of images', () => {
  it.each([
    // A repository takes itself and what is below it.
    ['registry.example.com/shop', 'registry.example.com/shop/web:1', true],
    ['registry.example.com/shop', 'registry.example.com/shop', true],
    ['registry.example.com/shop', `registry.example.com/shop@${D1}`, true],
    ['registry.example.com/shop', `registry.example.com/shop:1@${D1}`, true],
    ['registry.example.com/shop', 'registry.example.com/shopping/web:1', false],
    ['registry.example.com/shop', 'evil.example.com/registry.example.com/shop/web:1', false],
    ['registry.example.com/shop', 'web', false],
    ['registry.example.com/shop/', 'registry.example.com/shop/web', true],
    ['registry.example.com/shop/', 'registry.example.com/shop:1', false],
    // A registry takes what is below it, on its own port only.
    ['registry.example.com', 'registry.example.com/web:1', true],
    ['registry.example.com/', 'registry.example.com/web:1', true],
    ['registry.example.com', 'registry.example.com:5000/web:1', false],
    ['registry.example.com:5000', 'registry.example.com:5000/web:1', true],
    ['registry.example.com:5000', 'registry.example.com/web:1', false],
    ['registry.example.com', 'registry.example.com', false], // an image of Docker Hub that is called so
    ['registry.example.com', 'registry.example.com.evil.org/web', false],
    ['localhost', 'localhost/web', true],
    // No registry means Docker Hub, whose official images are in library.
    ['docker.io', 'nginx', true],
    ['docker.io/library', 'nginx:1.27', true],
    ['docker.io/library/nginx', 'nginx', true],
    ['nginx', 'docker.io/library/nginx:1.27', true],
    ['nginx', 'index.docker.io/library/nginx', true],
    ['nginx', 'docker.io/nginx', true],
    ['nginx', 'nginx/nginx', false],
    ['docker.io/shop', 'shop/web', true],
    ['shop/web', 'docker.io/shop/web:1', true],
    ['shop/', 'shop/web', true],
    ['docker.io/shop', 'shop', false],
    ['shop/web', 'shop.example.com/web', false],
    // Hosts have no case; a first part with capitals is a host to every runtime.
    ['registry.example.com', 'Registry.Example.COM/web', true],
    ['REGISTRY.example.com', 'registry.example.com/web', true],
    ['shop', 'Shop/web', false],
    ['docker.io/shop', 'SHOP/web', false],
    // A tag or digest in an entry is meant.
    ['registry.example.com/web:1', 'registry.example.com/web:1', true],
    ['registry.example.com/web:1', 'registry.example.com/web:2', false],
    ['registry.example.com/web:1', `registry.example.com/web:1@${D1}`, false],
    ['registry.example.com/web:latest', 'registry.example.com/web', true],
    [`registry.example.com/web@${D1}`, `registry.example.com/web@${D1}`, true],
    [`registry.example.com/web@${D1}`, `registry.example.com/web:7@${D1}`, true],
    [`registry.example.com/web@${D1}`, `registry.example.com/web@${D2}`, false],
    [`registry.example.com/web@${D1}`, 'registry.example.com/web:7', false],
    [`registry.example.com/web:1`, 'registry.example.com/web/other:1', false],
    // What is no reference is from nowhere.
    ['registry.example.com', '', false],
    ['registry.example.com', ' registry.example.com/web', false],
    ['registry.example.com', 'registry.example.com/web ', false],
    ['registry.example.com', 'registry.example.com//web', false],
    ['registry.example.com', 'registry.example.com/../web', false],
    ['registry.example.com', 'registry.example.com/Web', false],
    ['registry.example.com', 'registry.example.com/web:1:2', false],
    ['registry.example.com', 'registry.example.com/web@sha256:aa', false], // too short for a digest
    ['registry.example.com', 'https://registry.example.com/web', false],
    ['registry.example.com', 'registry.example.com@evil.org/web', false],
    ['registry.example.com', 'registry.example.com/w\u0435b', false], // a Cyrillic е
    ['https://registry.example.com', 'registry.example.com/web', false],
  ])('with %s takes %s: %s', (entry, image, allowed) => {
    expect(isAllowed(entry, image)).toBe(allowed);
  });

  it('sees image volumes, init containers and custom kinds, and takes no word of a ConfigMap for an image', () => {
    const volume = { kind: 'Pod', spec: { volumes: [{ name: 'a', image: { reference: 'evil/data:1' } }] } };
    const init = { kind: 'Pod', spec: { initContainers: [{ name: 'a', image: 'evil/data:1' }] } };
    const custom = { kind: 'Widget', spec: { deep: [{ image: 'evil/data:1' }] } };
    for (const object of [volume, init, custom]) {
      expect(denialsOf(['good/'], object)).toEqual(['the image evil/data:1 is from no allowed registry']);
    }
    const data = { image: 'evil/data:1' };
    expect(denialsOf(['good/'], { apiVersion: 'v1', kind: 'ConfigMap', data })).toEqual([]);
  });

  it('takes no custom kind for plain data because it is called so', () => {
    for (const [apiVersion, kind] of [
      ['example.com/v1', 'ConfigMap'],
      ['example.com/v1', 'Secret'],
    ]) {
      expect(denialsOf(['good/'], { apiVersion, kind, spec: { image: 'evil/data:1' } })).toHaveLength(1);
    }
  });

  it('looks into what names an image, where another may be hidden', () => {
    const hidden = { containers: [{ name: 'web', image: 'evil/data:1' }] };
    for (const image of [{ reference: 'good/data:1', ...hidden }, { reference: hidden }, [hidden]]) {
      const object = { apiVersion: 'example.com/v1', kind: 'Widget', spec: { image } };
      expect(denialsOf(['good/'], object)).toEqual(['the image evil/data:1 is from no allowed registry']);
    }
  });

  it('looks as deep as an object may be', () => {
    const deep = Array.from({ length: 100_000 }).reduce<object>((inner) => ({ inner }), { image: 'evil/data:1' });
    expect(denialsOf(['good/'], deep)).toHaveLength(1);
  });

  it('denies a text that is too long to be a reference, and tells its beginning', () => {
    const [told = ''] = denialsOf(['docker.io'], deployment('a'.repeat(100_000)));
    expect(told.length).toBeLessThan(400);
  });

  it('that is empty allows no image', () => {
    expect(denialsOf([], deployment('nginx'))).toHaveLength(1);
  });

  it('judges any text', () => {
    const letters = fc.string({ unit: fc.constantFrom(...'aA0._-/:@[]'), maxLength: 100 });
    fc.assert(
      fc.property(letters, (image) => [0, 1].includes(denialsOf(['docker.io/shop'], deployment(image)).length)),
    );
  });

  it('takes no time for what repeats itself, as an expression that backtracks would', () => {
    const started = performance.now();
    for (const part of ['a', '-', 'a-', 'a.', 'a__', 'aA', 'a/', 'A.', '[:', 'a:', '@a', 'a-.']) {
      expect(isAllowed('registry.example.com', `${part.repeat(500 / part.length)}!`)).toBe(false);
    }
    expect(performance.now() - started).toBeLessThan(1000);
  });
});
