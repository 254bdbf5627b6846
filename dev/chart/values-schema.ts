import type { Value } from './values.ts';

interface Schema {
  [name: string]: unknown;
  properties?: Record<string, Schema>;
}

/** Maps that are Kubernetes' own or the user's, whose keys nobody here knows. */
const OPEN = { type: 'object', additionalProperties: true };

/** JSON Schema (draft 7, which Helm reads) for the values: a name that is not among them is an error, as is another type. */
export function schemaOf(values: readonly Value[], policy: Schema): Schema {
  const root: Schema = {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'Values of the connector',
    ...group(),
  };
  for (const { path, description, preset, schema } of values) {
    const names = path.split('.');
    const last = names.pop();
    let at = root;
    for (const name of names) at = (at.properties ??= {})[name] ??= group();
    (at.properties ??= {})[String(last)] = { description, ...typeOf(preset), ...schema };
  }
  embedPolicy(root, policy);
  // Helm's own, and what a chart that has this one as a part may say to it.
  (root.properties ??= {})['global'] = OPEN;
  return root;
}

/** The policy is checked as the connector checks it: by its own schema, which is of a newer draft and uses nothing of it. */
function embedPolicy(root: Schema, { $schema: _draft, $id: _id, ...policy }: Schema): void {
  const group = root.properties?.['policy']?.properties;
  const before = group?.['document'];
  if (!group || !before) throw new Error('values.yaml has no policy.document.');
  group['document'] = { ...policy, description: before['description'] };
}

function group(): Schema {
  return { type: 'object', additionalProperties: false, properties: {} };
}

function typeOf(preset: unknown): Schema {
  if (Array.isArray(preset)) return { type: 'array' };
  if (typeof preset === 'object' && preset !== null) return OPEN;
  if (typeof preset === 'number') return { type: Number.isInteger(preset) ? 'integer' : 'number' };
  return { type: typeof preset };
}
