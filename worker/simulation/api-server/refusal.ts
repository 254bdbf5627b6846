import type { ServedKind } from './kinds.ts';
import { qualified } from './kinds.ts';

interface Cause {
  readonly reason: string;
  readonly message: string;
  readonly field?: string;
}

/** An answer that says no: the API server's own `Status` (k8s.io/apimachinery meta/v1). */
export class Refusal extends Error {
  readonly status: number;
  readonly body: unknown;

  constructor(status: number, reason: string, message: string, details: Record<string, unknown> = {}) {
    super(message);
    this.status = status;
    this.body = {
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Failure',
      message,
      reason,
      details,
      code: status,
    };
  }
}

function detailsOf({ group, plural }: ServedKind, name: string, causes: readonly Cause[] = []) {
  return { name, ...(group && { group }), kind: plural, ...(causes.length > 0 && { causes }) };
}

export function notFound(kind: ServedKind, name: string): Refusal {
  return new Refusal(404, 'NotFound', `${qualified(kind)} "${name}" not found`, detailsOf(kind, name));
}

export function alreadyExists(kind: ServedKind, name: string): Refusal {
  return new Refusal(409, 'AlreadyExists', `${qualified(kind)} "${name}" already exists`, detailsOf(kind, name));
}

export function conflict(kind: ServedKind, name: string, why: string): Refusal {
  const message = `Operation cannot be fulfilled on ${qualified(kind)} "${name}": ${why}`;
  return new Refusal(409, 'Conflict', message, detailsOf(kind, name));
}

export const MODIFIED = 'the object has been modified; please apply your changes to the latest version and try again';

export function invalid(kind: ServedKind, name: string, field: string, why: string): Refusal {
  const message = `${kind.kind}${kind.group && `.${kind.group}`} "${name}" is invalid: ${field}: ${why}`;
  const details = detailsOf(kind, name, [{ reason: 'FieldValueInvalid', message: why, field }]);
  return new Refusal(422, 'Invalid', message, { ...details, kind: kind.kind });
}

export function managerMissing(): Refusal {
  const why = 'Required value: is required for apply patch';
  const message = `PatchOptions.meta.k8s.io "" is invalid: fieldManager: ${why}`;
  const causes = [{ reason: 'FieldValueRequired', message: why, field: 'fieldManager' }];
  return new Refusal(422, 'Invalid', message, { group: 'meta.k8s.io', kind: 'PatchOptions', causes });
}

export function badRequest(message: string): Refusal {
  return new Refusal(400, 'BadRequest', message);
}

export function fieldConflicts(found: readonly { manager: string; using: string; field: string }[]): Refusal {
  const causes = found.map(({ manager, using, field }) => ({
    reason: 'FieldManagerConflict',
    message: `conflict with "${manager}" using ${using}`,
    field,
  }));
  const list = causes.map(({ message, field }) => `${message}: ${field}`).join('\n');
  const count = `${causes.length} conflict${causes.length === 1 ? '' : 's'}`;
  return new Refusal(409, 'Conflict', `Apply failed with ${count}: ${list}`, { causes });
}
