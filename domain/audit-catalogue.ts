import { z } from 'zod';

/**
 * What the audit log can tell: every type of entry, what it means, and exactly which detail it carries. Whoever writes
 * an entry is held to this list, so that nothing goes in that nobody thought about: no Secret's value, no token, no
 * body of a request. Where the original matters its digest is here: who holds the original can prove that it is the one.
 *
 * Rows are never removed or given another meaning, because old logs hold them; what is added to one is optional.
 * docs/audit.md shows this list to auditors, and a test holds the two together.
 */

const text = z.string();
const count = z.int().min(0);
const digest = z.templateLiteral(['sha256:', z.string().regex(/^[0-9a-f]{64}$/)]);
const list = <T extends z.ZodType>(of: T) => z.array(of).readonly();

/** An error as the outside is told of it, never its cause. */
const told = z.strictObject({ code: text, message: text });

/** One end of a piece of a chain. */
const place = z.strictObject({ seq: count, hash: digest });

/** Authorities that are trusted, a certificate of ours, or that of the other side. */
const certificateKind = z.enum(['ca', 'client', 'server']);

const object = z.strictObject({ apiVersion: text, kind: text, namespace: text.optional(), name: text });

const objectOutcome = z.strictObject({
  object,
  change: z.enum(['create', 'update', 'delete', 'unchanged']),
  uid: text.optional(),
  resourceVersion: text.optional(),
  /** Over the normalised object: what it holds, Secrets included, is proven by them and shown by neither. */
  beforeHash: digest.optional(),
  afterHash: digest.optional(),
});

interface EventKind {
  /** What has happened, in a sentence for auditors. */
  readonly tells: string;
  readonly detail: z.ZodType<Readonly<Record<string, unknown>>>;
}

const event = <T extends z.ZodRawShape>(tells: string, fields: T) => ({ tells, detail: z.strictObject(fields) });

/** How a package ended; the same for each end. */
const end = {
  approvers: list(text),
  error: told.optional(),
  steps: list(z.strictObject({ id: text, action: text, outcome: text, objects: count })).optional(),
  /** Set where it was rolled back, or was to be; `rollback.finished` has the objects. */
  undo: z.strictObject({ complete: z.boolean(), objects: count, left: count }).optional(),
};

/** What people wrote, without what is personal or secret; the digest is that of the original, where something was taken out. */
const comment = { comment: text.optional(), commentDigest: digest.optional() };
const reason = { reason: text.optional(), reasonDigest: digest.optional() };

const freeze = {
  cluster: text,
  /** Whether the object says so, or was taken away. */
  how: z.enum(['set', 'missing']),
  /** Counts the changes of the freeze since it was installed. */
  change: count,
  /** Of the object; `0` where it was found missing. */
  resourceVersion: text,
  ...reason,
};

const signingKey = {
  use: z.enum(['packages', 'votes']),
  name: text,
  fingerprint: text,
  notBefore: text.optional(),
  notAfter: text.optional(),
};

export const AUDIT_CATALOGUE = {
  'package.verified': event('Signature, format, audience and validity of a package hold, and its id is claimed.', {
    signedBy: text,
    name: text,
    playbook: text,
    author: text,
  }),
  'package.denied': event('A package is refused for good: signature, format, policy, validity or replay.', end),
  'package.planned': event('The dry run gave a plan with a risk.', {
    risk: text,
    rules: list(text),
    objects: count,
    problems: count,
  }),
  'vote.recorded': event('Somebody voted, or tried to; `refused` says why a vote does not count.', {
    decision: text,
    via: text,
    receivedAt: text,
    ...comment,
    votedFor: text.optional(),
    refused: z.strictObject({ code: text, why: text }).optional(),
    /** Of a signed vote: when it was signed, with which key, and the statement, whole, for whoever verifies it. */
    signedAt: text.optional(),
    keyFingerprint: text.optional(),
    groups: list(text).optional(),
    statement: z.unknown().optional(),
  }),
  'package.approved': event('The votes that policy asks for are there, or policy approves the playbook itself.', {
    approvers: list(
      z.strictObject({ approver: text, proof: text, at: text.optional(), keyFingerprint: text.optional() }),
    ),
    auto: z.boolean(),
    reason: text,
  }),
  'package.rejected': event('Somebody who may do so said no.', end),
  'package.expired': event('Nobody answered in time.', end),
  'step.started': event('The first write of a step is about to be sent.', { id: text, action: text }),
  'step.finished': event('A step ended; each object with its UID, version, and hashes before and after.', {
    id: text,
    action: text,
    outcome: text,
    objects: list(objectOutcome),
    startedAt: text,
    finishedAt: text,
  }),
  'package.succeeded': event('All steps ended well.', end),
  'package.failed': event('A step failed, and what came after it did not run.', end),
  'package.rolled-back': event('A step failed, and what was done before it was undone.', end),
  'rollback.finished': event(
    'What a package had written was undone, object by object; `left` is what was not touched, and `why` says the reason.',
    {
      complete: z.boolean(),
      objects: list(z.strictObject({ step: text, object, outcome: text, why: text.optional() })),
    },
  ),
  'package.stopped': event('Somebody pulled the emergency stop; `reason` is what they said.', {
    ...end,
    ...reason,
  }),
  'package.cut-off': event(
    'The run of a package was ended from outside: terminated, reset, timed out, or wiped from Temporal.',
    { fate: text, executing: digest.nullable() },
  ),
  'call.refused': event('Somebody called what they may not call, or with what cannot be read.', {
    activity: text,
    code: text,
    detail: text,
    workflowType: text,
  }),
  'http.call': event(
    "Somebody who proved who they are called the agent's HTTP API, and what was answered; `code` says why not.",
    {
      method: text,
      route: text,
      via: z.enum(['jwt', 'certificate']),
      address: text,
      status: count,
      code: text.optional(),
    },
  ),
  'http.calls': event(
    "All other calls of the agent's HTTP API in a span of time, counted: probes, scrapes, and what was refused unread.",
    {
      from: text,
      to: text,
      calls: list(
        z.strictObject({
          method: text,
          route: text,
          /** Absent where nobody proved who they are. */
          caller: text.optional(),
          status: count,
          code: text.optional(),
          count,
        }),
      ),
      /** Where refused calls came from; those that are not named are counted together as `others`. */
      refusedFrom: list(z.strictObject({ address: text, count })),
    },
  ),
  'worker.started': event(
    'A process began to work, with these settings (`settings` is their digest, secrets left out).',
    {
      version: text,
      bucket: text.nullable(),
      objectLock: z.boolean().nullable().optional(),
      headKey: digest.optional(),
      settings: digest.optional(),
    },
  ),
  'worker.stopped': event('A process ended in an orderly way.', { version: text }),
  'freeze.set': event(
    'Execution is frozen in the whole cluster: nothing is written until the freeze is lifted.',
    freeze,
  ),
  'freeze.lifted': event('The freeze is lifted: packages may be executed again.', freeze),
  'policy.loaded': event('A worker uses this policy from now on.', { policyDigest: digest }),
  'policy.broken': event('The policy cannot be read, so nothing runs until it is repaired.', {
    code: text,
    detail: text,
    line: count.optional(),
    column: count.optional(),
    path: text.optional(),
  }),
  'key.loaded': event('A key counts from now on, for packages or votes.', signingKey),
  'key.revoked': event('A key is revoked.', { ...signingKey, revokedAt: text }),
  'key.removed': event('A key is no longer among those that are trusted.', signingKey),
  'secret.read': event('The connector reads secrets of its own; never what is in them.', {
    store: z.enum(['vault', 'kubernetes']),
    paths: list(text),
  }),
  'vault.logged-in': event('The connector logged in to Vault; `why` says what for.', {
    role: text,
    why: text,
    ttlSeconds: count.optional(),
    entityId: text.optional(),
  }),
  'vault.login-failed': event('Vault refused a login of the connector, or did not answer; the latter is told once.', {
    role: text,
    refused: z.boolean(),
    said: text,
  }),
  'vault.renewal-failed': event('A token of the connector could not be renewed.', { role: text, said: text }),
  'kubernetes.token-issued': event('The API server issued a token of the account that packages are applied with.', {
    account: text,
    ttlSeconds: count,
  }),
  'vault.token-issued': event('Vault issued a JWT by which another service knows this cluster.', {
    role: text,
    ttlSeconds: count,
  }),
  'vault.token-refused': event('Vault refused a JWT to the connector, or did not answer.', {
    role: text,
    refused: z.boolean(),
    said: text,
  }),
  'authentication.failed': event(
    'Somebody was not accepted for who they say they are: the connector elsewhere, or a caller here.',
    { at: text, code: text },
  ),
  'link.lost': event('The control plane has taken no heartbeat for longer than was allowed.', {
    since: text,
    code: text,
  }),
  'link.restored': event('The control plane takes heartbeats again.', { lostSince: text }),
  'part.unhealthy': event('Something that the connector stands on does not work as it should.', {
    part: text,
    state: text,
    code: text.optional(),
  }),
  'part.recovered': event('It works again.', { part: text }),
  'certificate.changed': event(
    'Another certificate of the connector, or other authorities that it trusts, count from now on; `fingerprint` is of the file.',
    { part: text, kind: certificateKind, fingerprint: digest, notAfter: text },
  ),
  'certificate.unusable': event('Changed certificate files cannot be used; what they held before still counts.', {
    part: text,
    said: text,
  }),
  'certificate.expiring': event('A certificate ends soon, or has ended; told once for each of the two.', {
    part: text,
    kind: certificateKind,
    notAfter: text,
    daysLeft: count,
  }),
  'audit.tail-repaired': event('Bytes at the end of the log that were never acknowledged were taken out.', {
    aside: text.optional(),
    bytes: count,
    digest: digest.optional(),
  }),
  'audit.file-restored': event('A file of the log was deleted while it was open, and was put back.', {
    file: text,
    bytes: count,
  }),
  'audit.clock-stepped-back': event('The clock went back; the only type that may be older than the one before it.', {
    from: text,
    to: text,
  }),
  'audit.chain-begun': event(
    'A chain takes over from one of which the disk no longer has the end that was published.',
    {
      after: z.strictObject({ chain: text, seq: count, hash: digest }),
      found: z.strictObject({ seq: count, hash: digest }),
    },
  ),
  'audit.uploaded': event('Entries are in the bucket, as they were read back from it.', {
    objects: list(z.strictObject({ key: text, first: count, last: count })),
    last: place,
  }),
  'audit.upload-late': event('The bucket has not taken what is to be uploaded for longer than was allowed.', {
    since: text,
    code: text,
    waiting: count,
  }),
  'audit.day-sealed': event('The manifest of a day is in the bucket.', {
    day: text,
    key: text,
    entries: count,
    first: place,
    last: place,
  }),
  'audit.files-removed': event('Files that the bucket has were removed from the local disk.', {
    why: z.enum(['age', 'size']),
    files: list(z.strictObject({ name: text, bytes: count, first: count, last: count })),
  }),
  'metrics.dropped': event(
    'Metrics were given up before they were delivered: too old, too many, refused for good, or unreadable.',
    { batches: z.strictObject({ age: count, size: count, refused: count, unreadable: count }) },
  ),
  'audit.read': event('Somebody read the log with a tool, as that tool says.', {
    command: text,
    source: text,
    filter: text,
  }),
  'payload.read': event(
    'Somebody looks at what is encrypted in Temporal through the codec server, as that says; covers five minutes.',
    { namespace: text },
  ),
} as const satisfies Record<string, EventKind>;

export type AuditEventType = keyof typeof AUDIT_CATALOGUE;

/** What an entry of a type carries. */
export type DetailOf<T extends AuditEventType> = z.input<(typeof AUDIT_CATALOGUE)[T]['detail']>;

export function isAuditEventType(value: unknown): value is AuditEventType {
  return typeof value === 'string' && Object.hasOwn(AUDIT_CATALOGUE, value);
}
