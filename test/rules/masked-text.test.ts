import { describe, expect, it } from '@jest/globals';
import { maskingOf } from '../../activities/kubernetes/masked-text.ts';

const VALUE = 'cörrect/horse+"battery"';
const KEY = `-----BEGIN KEY-----\n${'MIIEvQIBADANBgkqhkiG9w0BAQ'.repeat(4)}\n-----END KEY-----`;
const base64 = (text: string) => Buffer.from(text).toString('base64');
const wrapped = (text: string, width: number) => text.replace(new RegExp(`.{${width}}`, 'g'), '$&\n');

describe('a value of a Secret in a text', () => {
  it.each<[string, string, string]>([
    ['as it is', `a ${VALUE} b`, 'a [masked] b'],
    ['twice in a row', `${VALUE}${VALUE}`, '[masked][masked]'],
    ['in JSON', JSON.stringify({ key: VALUE }), '{"key":"[masked]"}'],
    ['in an address', `https://a/?b=${encodeURIComponent(VALUE)}&c`, 'https://a/?b=[masked]&c'],
    ['in base64', `a ${base64(VALUE)} b`, 'a [masked] b'],
    ['in base64 of addresses', Buffer.from(VALUE).toString('base64url'), '[masked]'],
    ['in base64, as echo gives it', base64(`${VALUE}\n`), '[masked]'],
    ['in hexadecimal', Buffer.from(VALUE).toString('hex'), '[masked]'],
    ['with colours', `a \u001b[31m${VALUE}\u001b[0m b`, 'a \u001b[31m[masked]\u001b[0m b'],
    ['with a colour in its middle', `a ${VALUE.slice(0, 5)}\u001b[1;31m${VALUE.slice(5)} b`, 'a [masked] b'],
    ['broken into lines', `a ${VALUE.slice(0, 5)}\r\n${VALUE.slice(5)} b`, 'a [masked] b'],
  ])('is masked %s', (_, text, shown) => {
    expect(maskingOf([VALUE])(text)).toBe(shown);
  });

  it.each([0, 1, 2, 3, 4])('is masked in base64 behind %s other characters, but for its edges', (before) => {
    const text = base64(`${'u'.repeat(before)}${VALUE}:and more`);
    const shown = maskingOf([VALUE])(text);
    expect(shown).toContain('[masked]');
    const left = Buffer.from(shown.replaceAll('[masked]', ''), 'base64').toString('utf8');
    expect(left).not.toMatch(/orrect|horse|battery/);
  });

  it.each([64, 76])('is masked in base64 that is wrapped at %s', (width) => {
    expect(maskingOf([KEY])(`key:\n${wrapped(base64(KEY), width)}`).trim()).toBe('key:\n[masked]');
  });

  it('is masked as the longest where one holds another', () => {
    expect(maskingOf(['horse', 'correct horse'])('a correct horse')).toBe('a [masked]');
  });

  it('is no word of two or three letters', () => {
    expect(maskingOf(['on', 'yes', ''])('yes, go on')).toBe('yes, go on');
  });

  it('leaves everything else, with its colours and line ends, as it is', () => {
    const text = 'a\r\n\u001b[32mok\u001b[0m\n\nb';
    expect(maskingOf([VALUE])(text)).toBe(text);
  });
});
