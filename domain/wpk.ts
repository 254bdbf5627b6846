import { z } from 'zod';
import { parseJsonPath } from './json-path.ts';

/**
 * The work package (WPK): what a control plane proposes and a person approves. This schema is the format; the
 * published JSON Schema is generated from it, and `parseWpk` is the only way from bytes to this type.
 */

export const WPK_API_VERSION = 'neuralops.io/v1';

/** The largest payload, in bytes. */
export const WPK_MAX_BYTES = 1024 * 1024;

export const MAX_STEPS = 200;

// Kubernetes object names: RFC 1123 labels and subdomains.
const label = z.string().regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/, 'must be a DNS label (RFC 1123)');
// RBAC names may hold colons; everything else is a subdomain. Path separators never occur.
const objectName = z
  .string()
  .max(253)
  .regex(/^[a-z0-9A-Z]([-a-z0-9A-Z.:_]*[a-z0-9A-Z])?$/, 'must be an object name');
const identifier = z
  .string()
  .max(128)
  .regex(/^[A-Za-z0-9]([-A-Za-z0-9._@:+]*[A-Za-z0-9])?$/, 'must be an identifier');
const text = z.string().min(1).max(1024);
const kind = z
  .string()
  .max(63)
  .regex(/^[A-Z][A-Za-z0-9]*$/, 'must be a kind, such as Deployment');
// The group is a DNS subdomain: it becomes a part of a URL.
const apiVersionPattern = /^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\/)?v[a-z0-9]+$/;
const apiVersion = z.string().max(253).regex(apiVersionPattern, 'must be an apiVersion, such as apps/v1');
const timestamp = z.iso.datetime({ error: 'must be a time in UTC, such as 2026-01-31T12:00:00Z' });

/** Points at one object; `apiVersion` may be left out for the kinds of core, apps, batch and autoscaling. */
const targetSchema = z.strictObject({
  apiVersion: apiVersion.optional(),
  kind,
  name: objectName,
  namespace: label.optional(),
});

const timeoutSeconds = z.int().min(1).max(86_400);

/** `ready`: the object is healthy by the rules of its kind. `gone`: it no longer exists. */
const healthSchema = z.enum(['ready', 'gone']);

const waitSchema = z.strictObject({ for: healthSchema, timeoutSeconds });

const jsonPath = z
  .string()
  .max(1024)
  .refine((text) => parseJsonPath(text) !== undefined, 'must be a JSONPath to one value, such as {.status.phase}');

/** What `kubectl wait --for` takes. */
const stateSchema = z.union([
  healthSchema,
  /** A condition of the object's status; its status is `True` where none is given. */
  z.strictObject({ condition: text, status: text.optional() }),
  z.strictObject({ jsonPath, equals: text }),
]);

/** Any object that the API server knows: its own validation (strict) is what checks the rest. */
const manifestSchema = z.looseObject({
  apiVersion,
  kind,
  metadata: z.looseObject({ name: objectName, namespace: label.optional() }),
});

/** Any JSON: the parser made it from JSON text, so that it need not be walked again (`z.json()` took 0.4 s). */
const anyJson = z.unknown().refine((value) => value !== undefined, 'missing: a value is required here');

const stepBase = { id: label, wait: waitSchema.optional() };

const jsonPatchOperation = z.discriminatedUnion('op', [
  z.strictObject({ op: z.literal('add'), path: z.string().max(1024), value: anyJson }),
  z.strictObject({ op: z.literal('replace'), path: z.string().max(1024), value: anyJson }),
  z.strictObject({ op: z.literal('test'), path: z.string().max(1024), value: anyJson }),
  z.strictObject({ op: z.literal('remove'), path: z.string().max(1024) }),
  z.strictObject({ op: z.literal('copy'), path: z.string().max(1024), from: z.string().max(1024) }),
  z.strictObject({ op: z.literal('move'), path: z.string().max(1024), from: z.string().max(1024) }),
]);

export const stepSchema = z.discriminatedUnion('action', [
  z.strictObject({
    ...stepBase,
    action: z.literal('apply'),
    manifests: z.array(manifestSchema).min(1).max(1000),
    /** Takes over fields that another manager owns; shown in the plan and raised in the risk. */
    force: z.boolean().optional(),
  }),
  z.strictObject({
    ...stepBase,
    action: z.literal('patch'),
    target: targetSchema,
    patch: z.discriminatedUnion('type', [
      /** RFC 6902 */
      z.strictObject({ type: z.literal('json'), operations: z.array(jsonPatchOperation).min(1).max(100) }),
      /** RFC 7396 */
      z.strictObject({ type: z.literal('merge'), body: z.record(z.string(), z.unknown()) }),
    ]),
  }),
  z.strictObject({
    ...stepBase,
    action: z.literal('scale'),
    target: targetSchema,
    replicas: z.int().min(0).max(100_000),
  }),
  z.strictObject({ ...stepBase, action: z.literal('restart'), target: targetSchema }),
  z.strictObject({
    ...stepBase,
    action: z.literal('delete'),
    target: targetSchema,
    /** What happens to the objects that this one owns; `background` where it is left out. */
    propagation: z.enum(['background', 'foreground', 'orphan']).optional(),
  }),
  /** Runs a Job to its end and keeps the end of its log. The package's id is added to the Job's name. */
  z.strictObject({ ...stepBase, action: z.literal('run'), manifest: manifestSchema, timeoutSeconds }),
  /** Waits for a state of one object, which need not be there yet. */
  z.strictObject({ ...stepBase, action: z.literal('wait'), target: targetSchema, for: stateSchema, timeoutSeconds }),
  z.strictObject({
    ...stepBase,
    action: z.literal('rollback'),
    target: targetSchema,
    /** The revision to go back to; the one before the current where it is left out. */
    toRevision: z.int().min(1).optional(),
  }),
  z.strictObject({ ...stepBase, action: z.literal('cordon'), target: targetSchema }),
  z.strictObject({ ...stepBase, action: z.literal('uncordon'), target: targetSchema }),
  /** Cordons a node and evicts its pods, as far as their PodDisruptionBudgets allow. */
  z.strictObject({
    ...stepBase,
    action: z.literal('drain'),
    target: targetSchema,
    timeoutSeconds,
    /** How long each pod may take to end; what the pod says where it is left out. */
    gracePeriodSeconds: z.int().min(0).max(86_400).optional(),
    /** Also pods that no controller brings back elsewhere. */
    evictUnmanaged: z.boolean().optional(),
    /** Also pods whose local data (`emptyDir`) is lost. */
    deleteEmptyDirData: z.boolean().optional(),
  }),
]);

/** From the lowest. */
export const RISK_LEVELS = ['low', 'medium', 'high'] as const;

export const riskLevelSchema = z.enum(RISK_LEVELS);

export const wpkSchema = z.strictObject({
  apiVersion: z.literal(WPK_API_VERSION),
  kind: z.literal('WorkPackage'),
  metadata: z.strictObject({
    /** ULID; used once, ever. */
    id: z.string().regex(/^[0-7][0-9A-HJKMNP-TV-Z]{25}$/, 'must be a ULID'),
    name: label,
    playbook: z.strictObject({ id: label, version: identifier }),
    /** Whoever wrote the package; may not approve it. */
    author: identifier,
    /** Per playbook and cluster; never goes back. */
    sequence: z.int().min(0),
    notBefore: timestamp,
    expiresAt: timestamp,
  }),
  target: z.strictObject({
    clusterId: label,
    /** The namespaces that the package may touch; empty where it touches cluster-scoped objects only. */
    namespaces: z.array(label).max(100),
  }),
  /** The author's own view; may only raise what is computed. */
  risk: riskLevelSchema,
  reason: text,
  steps: z.array(stepSchema).min(1).max(MAX_STEPS),
  onFailure: z.enum(['rollback', 'halt']),
});

export type Wpk = z.infer<typeof wpkSchema>;
export type Step = Wpk['steps'][number];
export type StepAction = Step['action'];
export type Target = z.infer<typeof targetSchema>;
export type Manifest = z.infer<typeof manifestSchema>;
/** What `wait` waits for. */
export type AwaitedState = z.infer<typeof stateSchema>;
export type RiskLevel = z.infer<typeof riskLevelSchema>;

/** The objects that a step brings along; none where it only points at one. */
export function manifestsOf(step: Step): readonly Manifest[] {
  if (step.action === 'apply') return step.manifests;
  return step.action === 'run' ? [step.manifest] : [];
}

/** The objects that a step is about, as the package names them. */
export function targetsOf(step: Step): readonly Target[] {
  if (step.action !== 'apply' && step.action !== 'run') return [step.target];
  return manifestsOf(step).map(({ apiVersion, kind, metadata: { name, namespace } }) => ({
    apiVersion,
    kind,
    name,
    ...(namespace !== undefined && { namespace }),
  }));
}

/** What a `wait` waits for, in words. */
export function describeState(state: AwaitedState): string {
  if (typeof state === 'string') return state;
  return 'condition' in state
    ? `${state.condition} is ${state.status ?? 'True'}`
    : `${state.jsonPath} is ${JSON.stringify(state.equals)}`;
}

/** A signed package on the wire: what workflows are started with and `POST /execute` takes. */
export interface SignedWpk {
  /** Base64 of the raw payload bytes, exactly as they were signed. */
  readonly payload: string;
  /** Sigstore bundle v0.3, as `cosign sign-blob --bundle` writes it. */
  readonly bundle: unknown;
}
