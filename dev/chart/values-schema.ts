import type { Value } from './values.ts';

interface Schema {
  [name: string]: unknown;
  properties?: Record<string, Schema>;
}

/** Maps that are Kubernetes' own or the user's, whose keys nobody here knows. */
const OPEN = { type: 'object', additionalProperties: true };

const text = (pattern: string): Schema => ({ type: 'string', pattern });
const list = (items: Schema): Schema => ({ type: 'array', items });

const STRINGS = { type: 'object', additionalProperties: { type: 'string' } };
const SELECTORS = { namespaceSelector: OPEN, podSelector: OPEN };
const peers = (properties: Schema['properties'] & object): Schema =>
  list({ type: 'object', additionalProperties: false, minProperties: 1, properties });

const BYTE = String.raw`(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)`;
const IPV4 = String.raw`${BYTE}(\.${BYTE}){3}/(3[0-2]|[12]?\d)`;
const IPV6 = String.raw`[0-9a-fA-F:]*:[0-9a-fA-F:]*/(12[0-8]|1[01]\d|[1-9]?\d)`;

/**
 * What values of one name are, wherever they stand. The API server would refuse most of what is refused here, but object by object
 * and in the middle of an upgrade; and YAML takes `yes` and `1.10` for something else than text.
 */
const BY_NAME: readonly (readonly [RegExp, Schema])[] = [
  [/(Secret|ConfigMap)$/, text('^([a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?)?$')],
  [/(^key|Key)$/, text('^[-._a-zA-Z0-9]*$')],
  [/^(url|keysUrl|runbookUrl|endpoint)$/, text(String.raw`^(https://\S+)?$`)],
  [/^(cidrs|deniedCidrs)$/, list(text(`^(${IPV4}|${IPV6})$`))],
  // An ipBlock among the selectors would get past deniedCidrs.
  [/^selectors$/, peers(SELECTORS)],
  [/^from$/, peers({ ...SELECTORS, ipBlock: OPEN })],
  [/^ports$/, { ...list({ type: 'integer', minimum: 1, maximum: 65_535 }), minItems: 1 }],
  [
    /^podAnnotations$/,
    { ...STRINGS, propertyNames: { not: { pattern: '^(checksum/|kubectl[.]kubernetes[.]io/default-container$)' } } },
  ],
  [/([lL]abels|[aA]nnotations|nodeSelector)$/, STRINGS],
  [/^(tolerations|rules|clusterRules|topologySpreadConstraints)$/, list(OPEN)],
  [/^(namespaces|clusterRoles|names|origins)$/, { ...list({ type: 'string', minLength: 1 }), uniqueItems: true }],
  [
    /^extraEnv$/,
    list({
      type: 'object',
      additionalProperties: false,
      required: ['name'],
      properties: { name: text('^[A-Za-z_][A-Za-z0-9_]*$'), value: { type: 'string' }, valueFrom: OPEN },
    }),
  ],
];

/**
 * JSON Schema (draft 7, which Helm reads) for the values: a name that is not among them is an error, as is another type. So is
 * `null`, by which Helm drops a value together with its default.
 */
export function schemaOf(values: readonly Value[], policy: Schema): Schema {
  const root: Schema = {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'Values of the connector',
    ...group(),
  };
  for (const { path, description, preset, schema } of values) {
    const names = path.split('.');
    const last = names.pop() ?? '';
    let at = root;
    for (const name of names) at = property(at, name, group);
    property(at, last, () => ({ description, ...(ofName(last) ?? typeOf(preset)), ...schema }));
  }
  embedPolicy(root, policy);
  // Helm's own, and what a chart that has this one as a part may say to it.
  (root.properties ??= {})['global'] = OPEN;
  return root;
}

/** The property of that name, made and required where it is not there yet. */
function property(of: Schema, name: string, make: () => Schema): Schema {
  const properties = (of.properties ??= {});
  const made = (properties[name] ??= make());
  const mayBeNull = Array.isArray(made['type']) && made['type'].includes('null');
  const required = (of['required'] ?? []) as readonly string[];
  if (!mayBeNull && !required.includes(name)) of['required'] = [...required, name];
  return made;
}

/** The policy is checked as the connector checks it: by its own schema, which is of a newer draft and uses nothing of it. */
function embedPolicy(root: Schema, { $schema: _draft, $id: _id, ...policy }: Schema): void {
  const group = root.properties?.['policy']?.properties;
  const before = group?.['document'];
  if (!group || !before) throw new Error('values.yaml has no policy.document.');
  group['document'] = { ...policy, description: before['description'] };
}

function group(): Schema {
  return { type: 'object', additionalProperties: false, properties: {}, required: [] };
}

function ofName(name: string): Schema | undefined {
  return BY_NAME.find(([pattern]) => pattern.test(name))?.[1];
}

function typeOf(preset: unknown): Schema {
  if (Array.isArray(preset)) return { type: 'array' };
  if (typeof preset === 'object' && preset !== null) return OPEN;
  if (typeof preset === 'number') return { type: Number.isInteger(preset) ? 'integer' : 'number' };
  return { type: typeof preset };
}
