import { writeFile } from 'node:fs/promises';
import { z } from 'zod';
import { wpkSchema } from '../domain/wpk.ts';

/** Writes the published JSON Schema of the work package (`node dev/generate-schema.ts`); a test says when it is due. */

export const SCHEMA_FILE = new URL('../domain/schema/wpk.schema.json', import.meta.url);

/** The schema file as it must be (JSON Schema 2020-12). */
export function generateWpkSchema(): string {
  const { $schema, ...schema } = z.toJSONSchema(wpkSchema);
  const head = {
    $schema,
    $id: 'https://neuralops.io/schemas/wpk/v1.json',
    title: 'Work package',
    description: 'What a control plane proposes and a person approves. At most 1 MiB of strict JSON.',
  };
  return `${JSON.stringify({ ...head, ...schema }, null, 2)}\n`;
}

if (import.meta.main) await writeFile(SCHEMA_FILE, generateWpkSchema());
