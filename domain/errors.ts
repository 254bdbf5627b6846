/**
 * The closed set of things that can go wrong, each with how the outside is told. Callers match `code`, never a message.
 */

/** How one error code behaves everywhere it surfaces. */
export interface ErrorTraits {
  /** Whether trying again later can help without anybody changing anything. */
  readonly retryable: boolean;
  /** Status of the problem+json answer (RFC 9457). */
  readonly httpStatus: number;
  /** Exit code of `byoc`: 1 the answer is no, 2 usage, 3 can't reach what it needs. */
  readonly exitCode: 1 | 2 | 3;
  /** What a caller may read; discloses nothing internal. */
  readonly sentence: string;
  /** Whether a package that meets it was not to be run at all, rather than failed on the way. */
  readonly denies: boolean;
}

const no = (httpStatus: number, sentence: string): ErrorTraits => ({
  retryable: false,
  httpStatus,
  exitCode: 1,
  sentence,
  denies: false,
});
const denied = (httpStatus: number, sentence: string): ErrorTraits => ({ ...no(httpStatus, sentence), denies: true });
const away = (sentence: string): ErrorTraits => ({ ...no(503, sentence), retryable: true, exitCode: 3 });
const usage = (sentence: string): ErrorTraits => ({ ...no(400, sentence), exitCode: 2 });

export const ERRORS = {
  // Signature and keys
  BUNDLE_EMPTY: denied(403, 'The signature bundle is empty.'),
  BUNDLE_MALFORMED: denied(403, 'The signature bundle is not a valid Sigstore bundle.'),
  BUNDLE_VERSION_UNSUPPORTED: denied(403, 'The signature bundle has a version that is not accepted.'),
  BUNDLE_TYPE_UNSUPPORTED: denied(403, 'The signature bundle holds something else than a signature over the payload.'),
  KEY_HINT_INVALID: denied(403, 'The key hint of the signature bundle is not the fingerprint of a key.'),
  KEY_UNKNOWN: denied(403, 'The package is signed by a key that is not trusted here.'),
  KEY_REVOKED: denied(403, 'The package is signed by a key that was revoked.'),
  KEY_NOT_VALID_NOW: denied(403, 'The package is signed by a key that is not valid at this time.'),
  KEY_UNSUPPORTED: denied(403, 'The signing key is of a kind that is not accepted.'),
  KEY_NOT_PINNED: denied(403, 'The package is signed by a key that the policy does not name.'),
  CERTIFICATE_UNTRUSTED: denied(
    403,
    'The package is signed by a certificate that the trusted root does not vouch for.',
  ),
  IDENTITY_UNTRUSTED: denied(403, 'The package is signed by an identity that is not trusted here.'),
  LOG_ENTRY_INVALID: denied(
    403,
    'The signature bundle lacks evidence of a transparency log, or holds some that is false.',
  ),
  SIGNATURE_INVALID: denied(403, 'The signature does not match the payload.'),
  KEYS_UNAVAILABLE: away('The signing keys cannot be read at the moment.'),

  // The work package
  WPK_TOO_LARGE: denied(413, 'The work package is larger than 1 MiB.'),
  WPK_SYNTAX: denied(400, 'The work package is not strict JSON.'),
  WPK_SCHEMA: denied(400, 'The work package does not have the form that it must have.'),
  MANIFEST_INVALID: no(400, 'A manifest cannot be used.'),
  WPK_EXPIRED: denied(403, 'The work package has expired.'),
  WPK_NOT_YET_VALID: denied(403, 'The work package is not valid yet.'),
  WPK_VALIDITY_TOO_LONG: denied(403, 'The work package is valid for longer than the policy allows.'),
  WPK_WRONG_CLUSTER: denied(403, 'The work package is meant for another cluster.'),
  WPK_ALREADY_USED: denied(409, 'A work package with this id was already used.'),
  WPK_SEQUENCE_OLD: denied(409, 'A newer work package of the same playbook was executed already.'),
  RUN_CUT_OFF: no(409, 'The run of the work package was ended from outside.'),
  WPK_NOT_FOUND: no(404, 'There is no work package with this id.'),

  // Policy, plan and approval
  POLICY_INVALID: denied(500, 'The policy file cannot be read, so nothing runs.'),
  POLICY_DENIED: denied(403, 'The policy does not allow this work package.'),
  PLAN_REJECTED: no(422, 'The Kubernetes API server refuses a part of the work package.'),
  PLAN_CHANGED: no(409, 'The cluster has changed: what would happen now is not what was approved.'),
  APPROVAL_MALFORMED: no(400, 'The vote does not have the form that it must have.'),
  APPROVAL_PLAN_MISMATCH: no(409, 'The vote is for another plan than the current one.'),
  APPROVAL_BY_AUTHOR: no(403, 'The author of a work package cannot vote on it.'),
  APPROVAL_CLOSED: no(409, 'The work package is not waiting for votes.'),
  APPROVAL_REASON_MISSING: no(400, 'A rejection needs a reason.'),
  APPROVAL_NOT_ACCEPTED: no(403, 'The policy does not accept this vote.'),
  APPROVAL_SIGNATURE_INVALID: no(403, 'The signature of the vote does not match what it signs.'),
  APPROVAL_KEY_UNTRUSTED: no(403, 'The vote is signed by a key that does not count.'),
  APPROVAL_STATEMENT_MISMATCH: no(409, 'The signed statement is about something else.'),
  APPROVAL_TIME_INVALID: no(403, 'The signed time of the vote lies in the future.'),
  APPROVAL_SUPERSEDED: no(409, 'A newer vote of the same person counts.'),
  APPROVERS_UNAVAILABLE: away("The approvers' keys cannot be read at the moment."),
  APPROVAL_MISSING: denied(403, 'The work package lacks the approvals that it needs.'),
  CALLER_UNTRUSTED: denied(403, 'The call does not come from the workflow of this work package.'),

  // Execution
  OBJECT_MISSING: no(404, 'An object that the work package changes is not there.'),
  FIELD_CONFLICT: no(409, 'Another manager owns a field that the work package sets.'),
  WRITE_REFUSED: no(422, 'The Kubernetes API server refused a write.'),
  FROZEN: away('Execution is frozen in this cluster; the work package waits until somebody lifts the freeze.'),
  FREEZE_UNKNOWN: away('Whether execution is frozen cannot be told at the moment, so nothing is written.'),
  FREEZE_DENIES: denied(403, 'Execution is frozen in this cluster, and the policy refuses packages meanwhile.'),
  FREEZE_UNACKNOWLEDGED: away('Not every executor of the cluster has acknowledged the freeze.'),
  EXECUTOR_LAPSED: away('The executor was out of touch for too long; a new attempt goes on.'),
  OBJECTS_LOCKED: away('Another work package is working on the same objects.'),
  ROLLBACK_REFUSED: no(409, 'The work package cannot be rolled back.'),
  NOT_READY: no(504, 'An object did not become ready in time.'),

  // Audit
  AUDIT_BROKEN: no(500, 'The audit log does not verify.'),
  READING_UNRECORDED: away('The audit log cannot take down who reads, so nothing is shown.'),
  AUDIT_UNAVAILABLE: away('The audit log cannot be written, so nothing is executed.'),

  // Calls of the agent's HTTP API
  CALLER_UNAUTHENTICATED: no(401, 'The call brings no proof of who makes it that is accepted here.'),
  CALLERS_UNAVAILABLE: away('Whether the caller may call cannot be told at the moment.'),
  CALLS_TOO_MANY: { ...no(429, 'There are more calls than are allowed; see Retry-After.'), retryable: true },
  CALL_MALFORMED: no(400, 'The call does not have the form that it must have.'),
  CALL_TOO_LARGE: no(413, 'The call is larger than it may be.'),
  CALL_TOO_SLOW: no(408, 'The call did not arrive in time.'),
  CALL_UNSUPPORTED: no(415, 'The call must bring JSON.'),
  ORIGIN_DENIED: no(403, 'Pages from there may not ask here.'),
  ROUTE_UNKNOWN: no(404, 'There is nothing here.'),
  ROUTE_OFF: no(503, 'This way in is switched off.'),

  // What we stand on
  KUBERNETES_UNAVAILABLE: away('The Kubernetes API server cannot be reached.'),
  KUBERNETES_FORBIDDEN: no(403, 'The connector lacks a right in the cluster.'),
  TEMPORAL_UNAVAILABLE: away('The Temporal service cannot be reached.'),
  VAULT_UNAVAILABLE: away('Vault cannot be reached.'),
  PAYLOAD_KEYS_UNAVAILABLE: away('The keys that payloads are encrypted with cannot be read.'),
  PAYLOAD_SEALED: no(403, 'The cluster encrypts what it tells, and there is no key for it here.'),
  CONTROL_PLANE_UNAVAILABLE: away('The control plane cannot be reached.'),
  CONTROL_PLANE_BUSY: away('The control plane asks to be left alone for a while.'),
  CONTROL_PLANE_DENIED: no(403, 'The control plane does not accept our token.'),
  CONTROL_PLANE_NOT_REGISTERED: no(404, 'The control plane does not know this cluster.'),
  CONTROL_PLANE_CONFLICT: no(409, 'The control plane knows something else under this name.'),
  CONTROL_PLANE_REFUSED: no(400, 'The control plane refuses what was sent.'),
  PROMETHEUS_UNAVAILABLE: away('Prometheus cannot be read.'),
  PROMETHEUS_DENIED: no(403, 'Prometheus does not let us in.'),
  PROMETHEUS_REFUSED: no(422, 'Prometheus does not take a query.'),
  PROMETHEUS_TOO_MUCH: no(413, 'Prometheus says more than is taken.'),
  INSIGHT_UNAVAILABLE: away('The Insight Engine cannot be reached.'),
  INSIGHT_BUSY: away('The Insight Engine asks to be left alone for a while.'),
  INSIGHT_DENIED: away('The Insight Engine does not accept our token.'),
  SPOOL_UNAVAILABLE: away('Metrics cannot be kept on the disk.'),
  S3_UNAVAILABLE: away('The audit bucket cannot be reached.'),
  WORKER_UNAVAILABLE: away('No worker of the cluster answers.'),
  WORKER_DRAINING: away('The worker is being replaced; another goes on.'),
  PART_UNAVAILABLE: away('A part of the development stack cannot be had or does not run.'),

  // The command
  USAGE: usage('The command cannot be carried out as it was given.'),
  CONFIG_INVALID: usage('A setting is missing or wrong.'),
  FILE_UNREADABLE: usage('A file cannot be read.'),
  FILE_UNWRITABLE: usage('A file cannot be written.'),
  INTERNAL: no(500, 'Something went wrong inside.'),
} as const satisfies Record<string, ErrorTraits>;

export type ErrorCode = keyof typeof ERRORS;

/** Where in an input the error is; line and column count from 1, `path` is a JSON pointer (RFC 6901). */
export interface Place {
  readonly line?: number;
  readonly column?: number;
  readonly path?: string;
}

export interface ConnectorErrorOptions {
  readonly place?: Place;
  /** The underlying error: for logs and audit only. */
  readonly cause?: unknown;
}

/** The one error class of the connector. `detail` may be shown to operators of this cluster, `cause` to nobody but the logs. */
export class ConnectorError extends Error {
  readonly code: ErrorCode;
  readonly detail: string;
  readonly place: Place | undefined;

  constructor(code: ErrorCode, detail = '', options: ConnectorErrorOptions = {}) {
    const where = describePlace(options.place);
    const text = [ERRORS[code].sentence, detail].filter(Boolean).join(' ');
    super(where ? `${text} (${where})` : text, options.cause === undefined ? {} : { cause: options.cause });
    this.name = 'ConnectorError';
    this.code = code;
    this.detail = detail;
    this.place = options.place;
  }

  get traits(): ErrorTraits {
    return ERRORS[this.code];
  }
}

export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === 'string' && Object.hasOwn(ERRORS, value);
}

/** The body of an answer that says no (RFC 9457, section 3). */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly code: ErrorCode;
}

/**
 * What a caller from outside is told of an error: the sentence of its code and nothing else. Detail, place and cause
 * are for operators and logs, and an error that is none of ours is told as INTERNAL.
 */
export function toProblem(error: unknown): Problem {
  const code = error instanceof ConnectorError ? error.code : 'INTERNAL';
  const { httpStatus: status, sentence: title } = ERRORS[code];
  return { type: `https://neuralops.io/problems/${code.toLowerCase().replaceAll('_', '-')}`, title, status, code };
}

/** `line 3, column 7, at /steps/0/action`, or an empty string where nothing is known. */
export function describePlace(place: Place | undefined): string {
  if (!place) return '';
  const parts = [];
  if (place.line !== undefined) parts.push(`line ${place.line}`);
  if (place.column !== undefined) parts.push(`column ${place.column}`);
  if (place.path) parts.push(`at ${place.path}`);
  return parts.join(', ');
}

/** Orders what is wrong with a file as one reads it. */
export function byPlace({ place: a }: ConnectorError, { place: b }: ConnectorError): number {
  return (a?.line ?? 0) - (b?.line ?? 0) || (a?.column ?? 0) - (b?.column ?? 0);
}

/** Compile-time proof that a `switch` over a union has a case for each member. */
export function assertNever(value: never): never {
  throw new ConnectorError('INTERNAL', `unexpected value ${JSON.stringify(value)}`);
}
