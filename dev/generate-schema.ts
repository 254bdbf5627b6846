import { readFile, writeFile } from 'node:fs/promises';
import { z } from 'zod';
import { policySchema } from '../domain/policy.ts';
import { wpkSchema } from '../domain/wpk.ts';
import { generateAgentOpenApi } from './agent-openapi.ts';
import { generateOpenApi } from './control-plane/openapi.ts';
import { SETTINGS_PAGE, withSettingsTable } from './settings-table.ts';

/** Writes what is published of schemas: themselves, and the table of settings (`node dev/generate-schema.ts`); a test says when it is due. */

export const SCHEMA_FILE = new URL('../domain/schema/wpk.schema.json', import.meta.url);
export const AGENT_OPENAPI_FILE = new URL('../docs/agent.openapi.yaml', import.meta.url);
export const POLICY_SCHEMA_FILE = new URL('../domain/schema/policy.schema.json', import.meta.url);
export const OPENAPI_FILE = new URL('../docs/control-plane.openapi.yaml', import.meta.url);

/** The schema file of the work package as it must be (JSON Schema 2020-12). */
export function generateWpkSchema(): string {
  return schemaText(z.toJSONSchema(wpkSchema), {
    $id: 'https://neuralops.io/schemas/wpk/v1.json',
    title: 'Work package',
    description: 'What a control plane proposes and a person approves. At most 1 MiB of strict JSON.',
  });
}

/** The schema file of the policy as people write it: with its short forms, and without what has a default. */
export function generatePolicySchema(): string {
  return schemaText(z.toJSONSchema(policySchema, { io: 'input' }), {
    $id: 'https://neuralops.io/schemas/policy/v1.json',
    title: 'Policy',
    description: "The customer's own word on what may run in the cluster. One YAML file.",
  });
}

function schemaText({ $schema, ...schema }: z.core.JSONSchema.BaseSchema, head: Record<string, string>): string {
  return `${JSON.stringify({ $schema, ...head, ...schema }, null, 2)}\n`;
}

if (import.meta.main) {
  await writeFile(SCHEMA_FILE, generateWpkSchema());
  await writeFile(POLICY_SCHEMA_FILE, generatePolicySchema());
  await writeFile(OPENAPI_FILE, generateOpenApi());
  await writeFile(AGENT_OPENAPI_FILE, generateAgentOpenApi());
  await writeFile(SETTINGS_PAGE, withSettingsTable(await readFile(SETTINGS_PAGE, 'utf8')));
}
