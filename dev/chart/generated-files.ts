import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { ALERT_GROUPS } from './alert-rules.ts';
import { dashboard } from './dashboard.ts';
import { readmeOf } from './readme.ts';
import { schemaOf } from './values-schema.ts';
import { readValues } from './values.ts';

const POLICY_SCHEMA = join(import.meta.dirname, '../../domain/schema/policy.schema.json');

/** The files of the chart that are made from something else, by their names below it. */
export async function generatedFiles(): Promise<Readonly<Record<string, string>>> {
  const values = await readValues();
  const policySchema = JSON.parse(await readFile(POLICY_SCHEMA, 'utf8')) as Parameters<typeof schemaOf>[1];
  return {
    'README.md': readmeOf(values),
    'values.schema.json': `${JSON.stringify(schemaOf(values, policySchema), null, 2)}\n`,
    'files/alert-rules.yaml': `# Made from dev/chart/alert-rules.ts: npx node dev/chart/generate.ts\n${stringify({ groups: ALERT_GROUPS }, { lineWidth: 120 })}`,
    'files/dashboard.json': `${JSON.stringify(dashboard(), null, 2)}\n`,
  };
}
