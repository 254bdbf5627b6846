import { z } from 'zod';
import { ConnectorError } from '../../domain/errors.ts';

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

/** An answer of the API server that is no success; stays inside this folder, where each caller knows what it means. */
export class ApiStatusError extends Error {
  readonly status: number;
  readonly reason: string;
  readonly fieldConflicts: readonly FieldConflict[];

  constructor(status: number, body: string) {
    const parsed = parseStatus(body);
    super(parsed?.message || `the API server answered with status ${status}`);
    this.name = 'ApiStatusError';
    this.status = status;
    this.reason = parsed?.reason ?? '';
    this.fieldConflicts = (parsed?.details.causes ?? [])
      .filter(({ reason }) => reason === 'FieldManagerConflict')
      .map(({ message, field }) => ({ manager: /conflict with "([^"]*)"/.exec(message)?.[1] ?? message, field }));
  }

  /**
   * Whether the same request may succeed later. A manifest that does not fit the schema is answered with 500 by
   * server-side apply, as if the server had failed.
   */
  get isTemporary(): boolean {
    if (this.message.startsWith('failed to create typed patch object')) return false;
    return this.status === 429 || this.status >= 500;
  }

  get isNotFound(): boolean {
    return this.status === 404;
  }

  get isFieldConflict(): boolean {
    return this.fieldConflicts.length > 0;
  }

  /** The object is not in the state that the request was bound to. A wrong uid answers 422 on some paths. */
  get isStale(): boolean {
    if (this.status === 409) return !this.isFieldConflict;
    return this.status === 422 && this.message.includes('metadata.uid');
  }

  /** Role-based access control says no; admission (quota, pod security) answers 403 too, but about the object. */
  get isMissingRight(): boolean {
    return this.status === 401 || (this.status === 403 && / cannot \w+ resource /.test(this.message));
  }

  /** Where nobody treats the answer itself: the error as the outside knows it. */
  toConnectorError(): ConnectorError {
    const code = this.status === 401 || this.status === 403 ? 'KUBERNETES_FORBIDDEN' : 'WRITE_REFUSED';
    return new ConnectorError(code, this.message, { cause: this });
  }
}

/** `field .spec.replicas belongs to "kubectl"`, for each field. */
export function describeConflicts(conflicts: readonly FieldConflict[]): string {
  return conflicts.map(({ manager, field }) => `field ${field} belongs to "${manager}"`).join('; ');
}

function parseStatus(body: string): z.infer<typeof statusSchema> | undefined {
  try {
    return statusSchema.safeParse(JSON.parse(body)).data;
  } catch {
    return undefined; // a proxy or load balancer answered, not the API server
  }
}
