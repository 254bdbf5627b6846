import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';

/**
 * JSON Schemas for kubeconform, one a kind, made from what Kubernetes publishes of its API (OpenAPI 2 of each version) and from
 * CRDs. Strict: a field that the API does not know is an error, which the API server would drop without a word.
 */

interface Schema {
  [name: string]: unknown;
  properties?: Record<string, unknown>;
}

interface Swagger {
  readonly definitions: Readonly<Record<string, Schema>>;
}

interface Kind {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
}

interface Crd {
  readonly spec: {
    readonly group: string;
    readonly names: { readonly kind: string };
    readonly versions: readonly { readonly name: string; readonly schema: { readonly openAPIV3Schema: Schema } }[];
  };
}

/** Where kubeconform looks in a folder that the functions below fill. */
export const SCHEMA_LOCATION = '{{.NormalizedKubernetesVersion}}/{{.ResourceKind}}{{.KindSuffix}}.json';

/** Types that are more than what OpenAPI 2 can say of them. */
const ANY_OF: Readonly<Record<string, readonly string[]>> = {
  'io.k8s.apimachinery.pkg.util.intstr.IntOrString': ['string', 'integer'],
  'io.k8s.apimachinery.pkg.api.resource.Quantity': ['string', 'number'],
};

/** Writes a schema for each kind of one version of Kubernetes. */
export async function writeApiSchemas(swaggerFile: string, folder: string): Promise<void> {
  const { definitions } = JSON.parse(await readFile(swaggerFile, 'utf8')) as Swagger;
  const strict = Object.fromEntries(
    Object.entries(definitions).map(([name, schema]) => [name, ANY_OF[name] ? { type: ANY_OF[name] } : closed(schema)]),
  );
  await mkdir(folder, { recursive: true });
  for (const [name, schema] of Object.entries(definitions)) {
    const kinds = (schema['x-kubernetes-group-version-kind'] ?? []) as readonly Kind[];
    const [only, ...others] = kinds;
    if (!only || others.length > 0) continue; // such as DeleteOptions, which every group has
    const needed = Object.fromEntries([...reachable(name, definitions)].map((one) => [one, strict[one]]));
    const whole = { $ref: `#/definitions/${name}`, definitions: needed };
    await writeFile(join(folder, fileOf(only)), JSON.stringify(whole));
  }
}

/** Writes a schema for each version that a CRD has. */
export async function writeCrdSchemas(crdFile: string, folder: string): Promise<void> {
  const { spec } = parse(await readFile(crdFile, 'utf8')) as Crd;
  await mkdir(folder, { recursive: true });
  for (const { name: version, schema } of spec.versions) {
    const file = fileOf({ group: spec.group, version, kind: spec.names.kind });
    await writeFile(join(folder, file), JSON.stringify(closedDeep(schema.openAPIV3Schema)));
  }
}

function fileOf({ group, version, kind }: Kind): string {
  const names = [kind, ...(group === '' ? [] : [group.split('.')[0]]), version];
  return `${names.join('-').toLowerCase()}.json`;
}

function closed(schema: Schema): Schema {
  return schema.properties ? { ...schema, additionalProperties: false } : schema;
}

/** The same in a CRD, whose schema is one piece; what it leaves open stays open. */
function closedDeep(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(closedDeep);
  if (typeof value !== 'object' || value === null) return value;
  const inner: Schema = Object.fromEntries(Object.entries(value).map(([key, one]) => [key, closedDeep(one)]));
  const isSchema = inner['type'] === 'object' && inner.properties && !inner['x-kubernetes-preserve-unknown-fields'];
  // `metadata` is the server's, and a CRD only says that there is some.
  return isSchema ? { ...inner, additionalProperties: false } : inner;
}

/** The definitions that one needs, itself included. */
function reachable(name: string, definitions: Swagger['definitions'], seen = new Set<string>()): Set<string> {
  if (seen.has(name)) return seen;
  seen.add(name);
  for (const [, next = ''] of JSON.stringify(definitions[name]).matchAll(/"#\/definitions\/([^"]+)"/g)) {
    reachable(next, definitions, seen);
  }
  return seen;
}
