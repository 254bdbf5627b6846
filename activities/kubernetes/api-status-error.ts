import { z } from 'zod';
import { ConnectorError } from '../../domain/errors.ts';
import { clip, safeMessage } from './status-message.ts';

/** The API server's `Status`, as far as anything here reads it (k8s.io/apimachinery meta/v1 `Status`). */
const statusSchema = z.object({
  kind: z.literal('Status'),
  reason: z.string().default(''),
  message: z.string().default(''),
  details: z
    .object({
      causes: z
        .array(
          z.object({ reason: z.string().default(''), message: z.string().default(''), field: z.string().default('') }),
        )
        .default([]),
    })
    .default({ causes: [] }),
});

/** One field that another manager owns. */
export interface FieldConflict {
  readonly manager: string;
  readonly field: string;
}

/** Server-side apply answers a manifest that does not fit the schema with 500, as if the server had failed. */
const MANIFEST_UNFIT = /^failed to (create typed patch object|convert new object)/;

const SECRETS = /^\/api\/v1\/(namespaces\/[^/]+\/)?secrets(\/|$)/;

const MAX_CONFLICTS_LENGTH = 1_000;

/**
 * An answer of the API server that is no success; stays inside this folder, where each caller knows what it means.
 * Keeps nothing of the body but `safeMessage`: it becomes the cause of errors, and causes are logged.
 */
export class ApiStatusError extends Error {
  readonly status: number;
  readonly reason: string;
  readonly fieldConflicts: readonly FieldConflict[];
  /** Whether the API server said it, rather than a proxy or load balancer before it. */
  readonly isFromApiServer: boolean;
  /** Whether the same request may succeed later. */
  readonly isTemporary: boolean;
  /** The object is not in the state that the request was bound to. A wrong uid answers 422 on some paths. */
  readonly isStale: boolean;

  /** @param path of the request: of Secrets, less is kept */
  constructor(status: number, body: string, path: string) {
    const parsed = parseStatus(body);
    const { reason = '', message = '' } = parsed ?? {};
    const causes = parsed?.details.causes ?? [];
    const fields = causes.map(({ field }) => field).filter((field) => field !== '');
    // What a disruption budget says is in its cause alone.
    const budget = causes.find((cause) => cause.reason === 'DisruptionBudget')?.message ?? '';
    const whole = [message, budget].filter(Boolean).join(' ');
    super(safeMessage({ status, reason, message: whole, fields }, SECRETS.test(path)));
    this.name = 'ApiStatusError';
    this.status = status;
    this.reason = reason;
    this.fieldConflicts = causes
      .filter((cause) => cause.reason === 'FieldManagerConflict')
      .map((cause) => ({ manager: managerIn(cause.message) ?? 'another manager', field: cause.field }));
    this.isFromApiServer = parsed !== undefined;
    this.isTemporary = (status === 429 || status >= 500) && !MANIFEST_UNFIT.test(message) && !budget;
    this.isStale = status === 409 ? !this.isFieldConflict : status === 422 && fields.includes('metadata.uid');
  }

  get isNotFound(): boolean {
    return this.status === 404;
  }

  get isFieldConflict(): boolean {
    return this.fieldConflicts.length > 0;
  }

  /** Role-based access control says no; admission (quota, pod security) answers 403 too, but about the object. */
  get isMissingRight(): boolean {
    return this.status === 403 && / cannot \w+ resource /.test(this.message);
  }

  /**
   * Where nobody treats the answer itself: the error as the outside knows it.
   * @param otherwise the code for all but a missing right: what was asked, a write or a read
   */
  toConnectorError(otherwise: 'WRITE_REFUSED' | 'KUBERNETES_UNAVAILABLE'): ConnectorError {
    const code = this.status === 403 ? 'KUBERNETES_FORBIDDEN' : otherwise;
    return new ConnectorError(code, this.message, { cause: this });
  }
}

function managerIn(message: string): string | undefined {
  return /conflict with "([^"]*)"/.exec(message)?.[1];
}

/** `field .spec.replicas belongs to "kubectl"`, for each field. */
export function describeConflicts(conflicts: readonly FieldConflict[]): string {
  const texts = conflicts.map(({ manager, field }) => `field ${field} belongs to "${manager}"`);
  return clip(texts.join('; '), MAX_CONFLICTS_LENGTH);
}

function parseStatus(body: string): z.infer<typeof statusSchema> | undefined {
  try {
    return statusSchema.safeParse(JSON.parse(body)).data;
  } catch {
    return undefined; // a proxy or load balancer answered, not the API server
  }
}
