import { describe, expect, it } from '@jest/globals';
import { findingLines } from '../../client/cli/doctor.ts';
import type { Finding } from '../../worker/doctor/check.ts';

const FINDINGS: readonly Finding[] = [
  { check: 'disk', status: 'ok', says: 'There is room.' },
  { check: 's3.encryption', status: 'warning', says: 'Nothing says how it is encrypted.', todo: 'Set BYOC_S3_SSE.' },
];

describe('what the doctor found', () => {
  it('is one line each for a program, and on a wide terminal', () => {
    const lines = [
      'ok           disk           There is room.',
      'warning      s3.encryption  Nothing says how it is encrypted. → Set BYOC_S3_SSE.',
    ];
    expect(findingLines(FINDINGS)).toEqual(lines);
    expect(findingLines(FINDINGS, 80)).toEqual(lines);
  });

  it('stays in its column on a narrow terminal, with what to do on lines of its own', () => {
    expect(findingLines(FINDINGS, 60).join('\n').split('\n')).toEqual([
      'ok           disk           There is room.',
      'warning      s3.encryption  Nothing says how it is',
      '                            encrypted.',
      '                            → Set BYOC_S3_SSE.',
    ]);
  });

  it('is left to a terminal that has no room for columns', () => {
    expect(findingLines(FINDINGS, 40)).toEqual(findingLines(FINDINGS));
  });
});
