import { readFile } from 'node:fs/promises';
import { describe, expect, it } from '@jest/globals';
import { parse } from 'yaml';
import { generateOpenApi } from '../../dev/control-plane/openapi.ts';
import { OPENAPI_FILE } from '../../dev/generate-schema.ts';
import { idempotencyKeyOf, livenessOf, PROBLEMS, signalSchema } from '../../domain/control-plane.ts';

// R12–R14: the published contract of the control plane

describe('the published OpenAPI document of the control plane', () => {
  it('is the one that the code generates; if not: node dev/generate-schema.ts', async () => {
    expect(await readFile(OPENAPI_FILE, 'utf8')).toBe(generateOpenApi());
  });

  it('holds every reference that it makes', () => {
    const text = generateOpenApi();
    const { components } = parse(text) as { components: { schemas: Record<string, unknown> } };
    const names = [...text.matchAll(/#\/components\/schemas\/(\w+)/g)].map(([, name]) => name);
    expect(new Set(names)).toEqual(new Set(Object.keys(components.schemas)));
  });

  it('tells each refusal that a connector may meet, with the status that it comes with', () => {
    const { paths } = parse(generateOpenApi()) as {
      paths: Record<string, Record<string, { responses: Record<string, { description: string }> }>>;
    };
    const told = Object.values(paths)
      .flatMap((path) => Object.values(path))
      .flatMap(({ responses }) => Object.entries(responses))
      .flatMap(([status, { description }]) =>
        [...description.matchAll(/`([a-z-]+)`/g)].map(([, code]) => `${code} ${status}`),
      );
    const unreachable = ['not-found', 'method-not-allowed']; // of paths and methods that are not in the document
    const codes = Object.entries(PROBLEMS).filter(([code]) => !unreachable.includes(code));
    expect(new Set(told)).toEqual(new Set(codes.map(([code, { status }]) => `${code} ${status}`)));
  });
});

describe('a signal', () => {
  it('is known again by the id of its batch or of its alert', () => {
    const at = '2026-01-31T12:00:00.000Z';
    const metrics = { clusterId: 'c', kind: 'metrics', batch: { id: 'b-1', collectedAt: at, series: [] } };
    const alert = {
      id: 'a-1',
      type: 'package-denied',
      severity: 'warning',
      at,
      writer: 'w',
      summary: 'A package was denied.',
    };
    expect(idempotencyKeyOf(signalSchema.parse(metrics))).toBe('b-1');
    expect(idempotencyKeyOf(signalSchema.parse({ clusterId: 'c', kind: 'alert', alert }))).toBe('a-1');
  });

  it('of another kind is refused', () => {
    expect(signalSchema.safeParse({ clusterId: 'c', kind: 'command', command: 'rm' }).success).toBe(false);
  });
});

describe('a cluster', () => {
  it.each([
    [0, 'alive'],
    [90_000, 'alive'],
    [90_001, 'stale'],
    [600_000, 'stale'],
    [600_001, 'dead'],
  ])('that was silent for %i ms is %s', (silentMs, liveness) => {
    expect(livenessOf(silentMs)).toBe(liveness);
  });
});
