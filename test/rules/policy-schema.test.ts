import { readFile } from 'node:fs/promises';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { parse } from 'yaml';
import { checkPolicy } from '../../activities/policy/load-policy.ts';
import { generatePolicySchema, POLICY_SCHEMA_FILE } from '../../dev/generate-schema.ts';
import { idleEntries } from '../../domain/policy/idle-entries.ts';

interface JsonSchema {
  readonly properties?: Record<string, JsonSchema>;
  readonly items?: JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
}

describe('the published JSON Schema of the policy', () => {
  it('is the one that the code generates; if not: node dev/generate-schema.ts', async () => {
    expect(await readFile(POLICY_SCHEMA_FILE, 'utf8')).toBe(generatePolicySchema());
  });
});

describe('the example of a policy', () => {
  let text: string;
  beforeAll(async () => {
    text = await readFile(new URL('../../docs/policy.example.yaml', import.meta.url), 'utf8');
  });

  it('is a good policy, and each of its entries can take something', () => {
    const { policy, problems } = checkPolicy(text);
    expect(problems).toEqual([]);
    expect(policy && idleEntries(policy)).toEqual([]);
  });

  it('shows every field that the schema has', () => {
    // `low` and `medium` are shown in their short form, `high` in its long one.
    const fields = [...fieldsOf(JSON.parse(generatePolicySchema()) as JsonSchema)].filter(
      (field) => !/^\/approvals\/(low|medium)\//.test(field),
    );
    expect([...shownIn(parse(text))].sort()).toEqual(fields.sort());
  });
});

/** Every field, by the names that lead to it; places in lists and alternatives are left out. */
function fieldsOf({ properties = {}, items, anyOf = [] }: JsonSchema, path = ''): Set<string> {
  const inner = [...anyOf, ...(items ? [items] : [])].flatMap((schema) => [...fieldsOf(schema, path)]);
  const own = Object.entries(properties).flatMap(([key, schema]) => [
    `${path}/${key}`,
    ...fieldsOf(schema, `${path}/${key}`),
  ]);
  return new Set([...inner, ...own]);
}

function shownIn(value: unknown, path = ''): Set<string> {
  if (Array.isArray(value)) return new Set(value.flatMap((one) => [...shownIn(one, path)]));
  if (typeof value !== 'object' || value === null) return new Set();
  return new Set(
    Object.entries(value).flatMap(([key, inner]) => [`${path}/${key}`, ...shownIn(inner, `${path}/${key}`)]),
  );
}
