import { z } from 'zod';
import { signedHeadSchema } from './audit-head.ts';
import { PHASES } from './status.ts';

/**
 * The contract with the control plane: what is sent there, and what may be answered. `docs/control-plane.openapi.yaml` is
 * generated from it. Both sides ignore fields that they do not know, so that either can be newer than the other.
 *
 * Nothing in an answer is ever carried out. Work comes through signed work packages and in no other way, so whoever
 * takes over the control plane, or its address, can make a connector do nothing.
 */

/** The audience of the JWTs that Vault issues for the control plane (RFC 7519, section 4.1.3). */
export const CONTROL_PLANE_AUDIENCE = 'neuralops-control-plane';

/** The audience of those that come with metrics: they may go to another service, which then can do no more with them. */
export const INSIGHT_AUDIENCE = 'neuralops-insight';

/** The claim that says for which cluster a JWT was issued: Vault fills it from the entity's metadata. */
export const CLUSTER_CLAIM = 'cluster_id';

const text = (max: number) => z.string().min(1).max(max);
const clusterId = text(63).describe('name of the cluster, which the token must be issued for');
const time = z.iso.datetime().describe('RFC 3339 in UTC');
const count = z.int().min(0);
const digest = z.templateLiteral(['sha256:', z.string().regex(/^[0-9a-f]{64}$/)]);
const version = text(64);

/** What is known of a cluster and of what the connector may do there. */
export const registrationSchema = z.object({
  clusterId,
  clusterUid: text(64).describe('UID of the namespace kube-system: what tells one cluster from another for good'),
  hostname: text(253).describe('host or pod that registers'),
  labels: z.record(text(317), z.string().max(253)).describe('set by whoever installed it, and read from the nodes'),
  capabilities: z.object({
    kubernetesVersion: version.optional(),
    nodes: count.optional().describe('absent where the connector may not list nodes'),
    architectures: z.array(text(32)).max(16).optional(),
    namespaces: z
      .array(text(63))
      .max(10_000)
      .optional()
      .describe('which namespaces the policy allows; absent where it names none and does not limit them'),
    roles: z.array(z.enum(['registration', 'metrics', 'execution'])).describe('what the sending process runs'),
  }),
  versions: z.object({ connector: version, node: version }),
  policyDigest: digest.optional().describe('absent while the policy is broken, which means that nothing runs'),
  auditKeys: z
    .array(text(1_024))
    .max(16)
    .describe('public keys (Ed25519, PEM) that audit heads are signed with; pin them at the first registration'),
  simulated: z.literal(true).optional(),
});
export type Registration = z.infer<typeof registrationSchema>;

export const COMPONENT_STATES = ['ok', 'degraded', 'down'] as const;

/** How one part is that the connector stands on. */
export const componentSchema = z.object({
  name: text(64),
  state: z.enum(COMPONENT_STATES),
  since: time.optional(),
  code: text(64).optional().describe('the error code, where something is wrong'),
});
export type ComponentHealth = Readonly<z.infer<typeof componentSchema>>;

export const heartbeatSchema = z.object({
  clusterId,
  writer: text(172).describe('the process that sends; one sends for the whole cluster'),
  sentAt: time,
  packages: z
    .partialRecord(z.enum(PHASES), count)
    .optional()
    .describe(
      'packages by phase: those that run, and those that ended within the last 24 h; absent while Temporal is away',
    ),
  freeze: z
    .object({ state: z.enum(['open', 'frozen', 'unknown']), since: time.optional() })
    .optional()
    .describe('the emergency stop of the whole cluster'),
  heads: z
    .array(signedHeadSchema)
    .max(10_000)
    .optional()
    .describe('signed heads of the audit logs of all writers; absent while the API server is away'),
  versions: z.object({ connector: version, node: version }),
  components: z.array(componentSchema).max(64),
  clockOffsetMs: z
    .int()
    .optional()
    .describe("how far the control plane's clock is ahead, by its last answer; absent before the first one"),
  policyDigest: digest.optional(),
  alerts: z
    .object({ waiting: count, dropped: count })
    .describe('alerts of the sending process that could not be delivered yet, and that had to be dropped'),
  simulated: z.literal(true).optional(),
});
export type Heartbeat = z.infer<typeof heartbeatSchema>;

/** What a sample of Prometheus is once it is sanitised; anything the metrics pipeline sends is kept as it is. */
const seriesSchema = z.looseObject({});

export const ALERT_SEVERITIES = ['critical', 'warning', 'info'] as const;

export const alertSchema = z.object({
  id: text(128).describe('the same for the same event, however often and by whichever process it is told'),
  type: text(64),
  severity: z.enum(ALERT_SEVERITIES),
  at: time,
  writer: text(172),
  summary: text(300).describe('a fixed sentence; nothing that came from outside is in it'),
  code: text(64).optional(),
  wpk: text(512).optional(),
  workflowId: text(512).optional(),
  simulated: z.literal(true).optional(),
});
export type Alert = Readonly<z.infer<typeof alertSchema>>;

export const signalSchema = z.discriminatedUnion('kind', [
  z.object({
    clusterId,
    kind: z.literal('metrics'),
    batch: z.object({
      id: text(128),
      collectedAt: time,
      series: z.array(seriesSchema).max(100_000),
      simulated: z.literal(true).optional(),
    }),
  }),
  z.object({ clusterId, kind: z.literal('alert'), alert: alertSchema }),
]);
export type Signal = z.infer<typeof signalSchema>;

/** What the header `Idempotency-Key` of a signal must be. */
export function idempotencyKeyOf(signal: Signal): string {
  return signal.kind === 'metrics' ? signal.batch.id : signal.alert.id;
}

/** All that an answer may say. */
export const answerSchema = z.object({
  time: time.optional().describe("the control plane's time, to the millisecond"),
  minimumVersion: version
    .optional()
    .describe('the oldest connector that is supported: people are warned, nothing else'),
});
export type Answer = z.infer<typeof answerSchema>;

/** What a control plane refuses with, by its code: the statuses are the contract, the codes tell them apart. */
export const PROBLEMS = {
  malformed: { status: 400, title: 'The request does not have the form that it must have.' },
  unauthenticated: { status: 401, title: 'The request has no token that is accepted.' },
  forbidden: { status: 403, title: 'The token is for another cluster, or for another service.' },
  'not-registered': { status: 404, title: 'The cluster is not registered.' },
  'not-found': { status: 404, title: 'There is nothing here.' },
  'method-not-allowed': { status: 405, title: 'The method is not allowed here.' },
  'cluster-conflict': { status: 409, title: 'Another cluster is registered with this id.' },
  'idempotency-conflict': { status: 409, title: 'The idempotency key was used for something else.' },
  'too-large': { status: 413, title: 'The request is too large.' },
  'unsupported-media': { status: 415, title: 'The request is not JSON, or in an encoding that is not accepted.' },
  'rate-limited': { status: 429, title: 'Too many requests; see Retry-After.' },
  internal: { status: 500, title: 'Something went wrong.' },
  unavailable: { status: 503, title: 'The token cannot be checked at the moment.' },
} as const satisfies Record<string, { readonly status: number; readonly title: string }>;
export type ProblemCode = keyof typeof PROBLEMS;

/** RFC 9457. */
export const problemSchema = z.object({
  type: z.string().max(256),
  title: z.string().max(256),
  status: z.int().min(400).max(599),
  code: z.string().max(64).optional(),
  detail: z.string().max(1_024).optional(),
});

/** A cluster that has beaten is alive for three beats, stale for ten minutes, and then dead. */
export const LIVENESS_MS = { alive: 90_000, stale: 600_000 } as const;
export type Liveness = 'alive' | 'stale' | 'dead';

/** @param silentMs how long ago the last beat was, by the receiver's clock */
export function livenessOf(
  silentMs: number,
  { alive, stale }: { readonly alive: number; readonly stale: number } = LIVENESS_MS,
): Liveness {
  if (silentMs <= alive) return 'alive';
  return silentMs <= stale ? 'stale' : 'dead';
}
