import { z } from 'zod';
import { stepSchema, WPK_API_VERSION } from '../wpk.ts';
import { windowsSchema } from './window-schema.ts';

/**
 * The form of the policy file: this schema is the format, and the published JSON Schema is generated from it. A field
 * that it does not know is an error, so that a slip of the keys never leaves a door open.
 */

const namespaces = z.array(z.string().min(1));

/** The actions of the package format, whichever they are. */
const actions = stepSchema.options.map(({ shape }) => shape.action.value);

/** As `byoc verify` prints it and Sigstore bundles hint at it: base64 of 32 bytes has one spelling only. */
const fingerprint = z
  .string()
  .regex(
    /^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/,
    'must be the fingerprint of a key: base64 of the SHA-256 of its SPKI DER, as byoc verify prints it',
  );

const group = z
  .string()
  .max(128)
  .regex(/^[A-Za-z0-9]([-A-Za-z0-9._:/@]*[A-Za-z0-9])?$/, 'must be the name of a group');

/** Compared as a whole; what looks like a pattern would silently match nobody. */
const exactly = z
  .string()
  .min(1)
  .max(1024)
  .refine((text) => !text.includes('*'), 'is matched exactly, so it cannot be a pattern');

/** A key of an approver, by its fingerprint alone or with whose it is. */
const pinnedApprover = z
  .union([
    fingerprint,
    z.strictObject({
      fingerprint,
      /** Whose key it is; under another name it does not count. */
      identity: exactly.optional(),
      /** All that its owner may belong to; with any other it does not count. */
      groups: z.array(group).max(64).optional(),
    }),
  ])
  .transform((given) => (typeof given === 'string' ? { fingerprint: given } : given));

/** Two pins of one key could contradict each other. */
const pinnedApprovers = z.array(pinnedApprover).superRefine((pins, context) => {
  pins.forEach(({ fingerprint }, index) => {
    if (pins.findIndex((other) => other.fingerprint === fingerprint) === index) return;
    context.addIssue({ code: 'custom', path: [index], message: 'is pinned already; a key is pinned once' });
  });
});

const quorum = z.int().min(1).max(10);

/** How many must approve, and optionally who among them; a bare number is short for a quorum without groups. */
const approvalsOf = (people: number) =>
  z
    .union([
      quorum,
      z.strictObject({
        quorum,
        /** At least one approver must be from each of them. */
        groups: z.array(group).max(10).default([]),
      }),
    ])
    .transform((given) => (typeof given === 'number' ? { quorum: given, groups: [] } : given))
    .prefault(people);

export const policySchema = z.strictObject({
  apiVersion: z.literal(WPK_API_VERSION),
  kind: z.literal('Policy'),
  /** What packages may contain. A list that is left out allows everything; an empty one allows nothing. */
  allow: z
    .strictObject({
      actions: z.array(z.enum(actions)).optional(),
      /** Kinds: `Deployment` of whatever group, `Deployment.apps` of this group, `ConfigMap.core` of the core group. */
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
      low: approvalsOf(1),
      medium: approvalsOf(1),
      high: approvalsOf(2),
      /** How long a package waits for an answer; none in time means no. */
      timeoutSeconds: z.int().min(1).max(604_800).default(86_400),
      /** How far the signed time of a vote may lie ahead of the time at which it came in. */
      maxClockSkewSeconds: z.int().min(0).max(600).default(60),
      /** The keys of approvers; where set, only these count, whatever Vault says. */
      pinnedKeys: pinnedApprovers.optional(),
    })
    .prefault({}),
  /** Who may sign packages. */
  signing: z
    .strictObject({
      /** Fingerprints of signing keys; where set, only these count, whatever Vault says. */
      pinnedKeys: z.array(fingerprint).optional(),
      /** Identities that may sign without a key, each with who vouches for it; both are matched exactly. */
      keyless: z.array(z.strictObject({ identity: exactly, issuer: exactly })).default([]),
    })
    .prefault({}),
  /** Playbooks that run without a person while their computed risk is low, each bound to the digest of its steps. */
  autoApprove: z
    .array(
      z.strictObject({
        playbook: z.string().min(1),
        stepsDigest: z
          .string()
          .regex(/^sha256:[0-9a-f]{64}$/, 'must be a digest: sha256: and 64 lower-case hex digits'),
      }),
    )
    .default([]),
  /** When execution may begin; at any time where there is no window. */
  windows: windowsSchema.default([]),
  /** What a package may hold at most; what is left out is limited by the format alone. */
  limits: z
    .strictObject({
      maxSteps: z.int().min(1).optional(),
      /** Manifests and targets, counted over all steps. */
      maxObjects: z.int().min(1).optional(),
    })
    .default({}),
  /** What becomes of packages that are submitted while execution is frozen in the cluster. */
  onFreeze: z.enum(['wait', 'deny']).default('wait'),
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

/** A policy with its defaults filled in. */
export type Policy = z.infer<typeof policySchema>;

/** What holds where no policy file is given. */
export const BUILT_IN_POLICY: Policy = policySchema.parse({ apiVersion: WPK_API_VERSION, kind: 'Policy' });
