import { z } from 'zod';
import type { Digest } from './digest.ts';
import { STATE_NAMESPACE } from './names.ts';
import type { Plan } from './plan.ts';
import type { RiskLevel, Step, Wpk } from './wpk.ts';
import { WPK_API_VERSION } from './wpk.ts';

/**
 * The customer's own word on what may run. It overrides any signature and any approval (R37). Where no policy is given
 * the built-in one holds: a person approves everything, the protections below apply, and no asserted vote counts.
 */

const namespaces = z.array(z.string().min(1));

export const policySchema = z.strictObject({
  apiVersion: z.literal(WPK_API_VERSION),
  kind: z.literal('Policy'),
  /** What packages may contain. A list that is left out allows everything; an empty one allows nothing. */
  allow: z
    .strictObject({
      actions: z.array(z.enum(['apply', 'patch', 'scale', 'restart', 'delete'])).optional(),
      /** Kinds, such as `Deployment`. */
      kinds: z.array(z.string().min(1)).optional(),
      namespaces: namespaces.optional(),
      /** Registries or repositories, such as `registry.example.com/shop`; an image below one of them is allowed. */
      images: z.array(z.string().min(1)).optional(),
    })
    .default({}),
  /** Namespaces that no package may touch. The connector's own is always among them. */
  protectedNamespaces: namespaces.default(['kube-system', 'kube-public', 'kube-node-lease']),
  approvals: z
    .strictObject({
      /** Lets a bare signal count, which only asserts who sent it; never towards a quorum above one. */
      acceptAsserted: z.boolean().default(false),
      low: z.int().min(1).max(10).default(1),
      medium: z.int().min(1).max(10).default(1),
      high: z.int().min(1).max(10).default(2),
      /** How long a package waits for an answer; none in time means no. */
      timeoutSeconds: z.int().min(1).max(604_800).default(86_400),
    })
    .prefault({}),
  /** Playbooks that run without a person while their computed risk is low, each bound to the digest of its steps. */
  autoApprove: z
    .array(
      z.strictObject({
        playbook: z.string().min(1),
        stepsDigest: z.string().regex(/^sha256:[0-9a-f]{64}$/),
      }),
    )
    .default([]),
  /** The longest time between a package's notBefore and expiresAt. */
  maxValiditySeconds: z.int().min(60).max(2_592_000).default(86_400),
  /** What must be true of the audit log for anything to run. */
  audit: z
    .strictObject({
      /** A bucket with Object Lock, which keeps the log from being deleted. */
      requireObjectLock: z.boolean().default(false),
    })
    .prefault({}),
});

export type Policy = z.infer<typeof policySchema>;

export const BUILT_IN_POLICY: Policy = policySchema.parse({ apiVersion: WPK_API_VERSION, kind: 'Policy' });

/** What a package needs before it may execute. */
export interface Requirement {
  /** Approved by policy, without a person. */
  readonly auto: boolean;
  /** Distinct people who must approve. */
  readonly quorum: number;
  readonly acceptAsserted: boolean;
  readonly timeoutSeconds: number;
  /** Why, in a sentence for people. */
  readonly reason: string;
}

/** How many reasons are told; the first are as good as all. */
const MAX_DENIALS = 20;

/** Every reason why the policy does not allow the package, each a sentence; empty when it does. */
export function policyDenials(policy: Policy, wpk: Wpk): string[] {
  const denials: string[] = [];
  const deny = (step: Step, sentence: string) => denials.push(`step ${step.id}: ${sentence}`);
  const { actions, kinds } = policy.allow;
  for (const step of wpk.steps) {
    if (actions && !actions.includes(step.action)) deny(step, `the action ${step.action} is not allowed`);
    for (const { kind, namespace, name } of touchedBy(step)) {
      if (kinds && !kinds.includes(kind)) deny(step, `the kind ${kind} is not allowed`);
      for (const touched of namespacesOf(kind, namespace, name)) {
        const why = namespaceDenial(policy, wpk, touched);
        if (why) deny(step, why);
      }
    }
  }
  return [...new Set(denials)].slice(0, MAX_DENIALS);
}

/**
 * Every reason why the policy does not allow what the objects would become. Images are judged here and not in the
 * package, because a patch can put one together in ways that only its result shows.
 * @param objects those that would change, as they would be
 */
export function resultDenials(policy: Policy, objects: readonly unknown[]): string[] {
  const { images } = policy.allow;
  if (!images) return [];
  const found = new Set(objects.flatMap(imagesIn));
  const foreign = [...found].filter((image) => !images.some((prefix) => image === prefix || isBelow(prefix, image)));
  return foreign.slice(0, MAX_DENIALS).map((image) => `the image ${image.slice(0, 256)} is from no allowed registry`);
}

/** Decides who must approve the plan. */
export function requirementFor(policy: Policy, wpk: Wpk, stepsDigest: Digest, plan: Pick<Plan, 'risk'>): Requirement {
  const { level } = plan.risk;
  const { acceptAsserted, timeoutSeconds } = policy.approvals;
  const listed = policy.autoApprove.some(
    (entry) => entry.playbook === wpk.metadata.playbook.id && entry.stepsDigest === stepsDigest,
  );
  if (listed && level === 'low') {
    const reason = `playbook ${wpk.metadata.playbook.id} is approved by policy and its risk is low`;
    return { auto: true, quorum: 0, acceptAsserted, timeoutSeconds, reason };
  }
  const quorum = policy.approvals[level];
  const people = quorum === 1 ? 'one person' : `${quorum} different people`;
  const reason = `${level} risk needs the approval of ${people}${listed ? '; approved by policy at low risk only' : ''}`;
  return { auto: false, quorum, acceptAsserted, timeoutSeconds, reason };
}

/** What rises from the author's own view: the higher of the two. */
export function higherRisk(a: RiskLevel, b: RiskLevel): RiskLevel {
  const order: readonly RiskLevel[] = ['low', 'medium', 'high'];
  return order.indexOf(a) >= order.indexOf(b) ? a : b;
}

/** The namespaces that no package touches, whatever the policy file says. */
export function protectedNamespaces(policy: Policy): ReadonlySet<string> {
  return new Set([...policy.protectedNamespaces, STATE_NAMESPACE]);
}

function namespaceDenial(policy: Policy, wpk: Wpk, namespace: string): string | undefined {
  if (protectedNamespaces(policy).has(namespace)) return `the namespace ${namespace} is protected`;
  if (policy.allow.namespaces && !policy.allow.namespaces.includes(namespace)) {
    return `the namespace ${namespace} is not allowed`;
  }
  if (!wpk.target.namespaces.includes(namespace)) {
    return `the namespace ${namespace} is not among those that the package names as its target`;
  }
  return undefined;
}

interface Touched {
  readonly kind: string;
  readonly namespace?: string | undefined;
  readonly name: string;
}

function touchedBy(step: Step): Touched[] {
  if (step.action !== 'apply') return [step.target];
  return step.manifests.map(({ kind, metadata }) => ({ kind, namespace: metadata.namespace, name: metadata.name }));
}

/** An object of kind Namespace counts as touching that namespace. */
function namespacesOf(kind: string, namespace: string | undefined, name: string): string[] {
  if (kind === 'Namespace') return [name];
  return namespace === undefined ? [] : [namespace];
}

/**
 * `registry.example.com/shop` is above `registry.example.com/shop/cart:1`, not above `registry.example.com/shopping`. A
 * registry alone is above its repositories only: with a port it is another registry.
 */
function isBelow(prefix: string, image: string): boolean {
  if (!image.startsWith(prefix)) return false;
  const next = image.charAt(prefix.length);
  return prefix.endsWith('/') || (prefix.includes('/') ? '/:@'.includes(next) : next === '/');
}

/** Kinds whose keys are the user's own words. */
const PLAIN_DATA = new Set(['ConfigMap', 'Secret']);

/** Every image in an object: of containers in any kind of workload, custom ones included, and of image volumes. */
function imagesIn(object: unknown): string[] {
  const found: string[] = [];
  const visit = (value: unknown): void => {
    if (Array.isArray(value)) return value.forEach(visit);
    if (typeof value !== 'object' || value === null) return;
    for (const [key, inner] of Object.entries(value)) {
      const image: unknown =
        key === 'image' && typeof inner === 'object' && inner !== null && 'reference' in inner
          ? inner.reference
          : inner;
      if (key === 'image' && typeof image === 'string') found.push(image);
      else visit(inner);
    }
  };
  const kind = typeof object === 'object' && object !== null && 'kind' in object ? object.kind : undefined;
  if (!PLAIN_DATA.has(String(kind))) visit(object);
  return found;
}
