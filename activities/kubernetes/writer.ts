import { ConnectorError } from '../../domain/errors.ts';
import { FIELD_MANAGER, STATE_NAMESPACE } from '../../domain/names.ts';
import { describeObject } from '../../domain/plan.ts';
import { ApiStatusError } from './api-status-error.ts';
import { Execution, planChanged } from './execution.ts';
import type { ExecutionOptions, ExecutionReport } from './execution-types.ts';
import { toJsonBody } from './json-body.ts';
import type { KubeApi, WriteCall } from './kube-api.ts';
import { at, isRecord } from './kube-object.ts';
import type { Planner } from './planner.ts';

export interface Writer {
  /**
   * Carries out an approved plan, step after step. Each write is bound to the state that was planned from; where that
   * changed, it is planned anew and goes on only if what would happen is still what was approved.
   * Aborting ends it before the next write; writes under way are awaited.
   * @throws {ConnectorError} PLAN_REJECTED, PLAN_CHANGED, FIELD_CONFLICT, WRITE_REFUSED, OBJECT_MISSING, NOT_READY,
   * KUBERNETES_FORBIDDEN, KUBERNETES_UNAVAILABLE; whatever `beforeWrite` throws; the signal's reason
   */
  execute(options: ExecutionOptions): Promise<ExecutionReport>;
}

/** The one file that writes to the cluster: everything else reads, or asks for dry runs. */
export function createWriter({ api, planner }: { readonly api: KubeApi; readonly planner: Planner }): Writer {
  return {
    async execute(options) {
      requireApproval(planner, options);
      const execution = new Execution(api, (call) => api.write(call), planner, options);
      for (const step of options.wpk.steps) await execution.run(step);
      return options.report;
    },
  };
}

function requireApproval(planner: Planner, { wpk, dryRun, approved, resumed }: ExecutionOptions): void {
  const [problem] = dryRun.problems;
  if (problem) throw new ConnectorError('PLAN_REJECTED', `${describeObject(problem.object)}: ${problem.message}`);
  const unapproved = dryRun.writes.filter((write) => {
    if (approved.has(write.planned.digest)) return false;
    if (!resumed) return true;
    const isDone = write.planned.change === 'unchanged';
    return !isDone && !planner.digestsBefore(wpk, write).some((digest) => approved.has(digest));
  });
  if (unapproved.length > 0) throw planChanged(unapproved);
}

/** Small records of the connector's own, one ConfigMap each, in its state namespace. */
export interface StateRecords {
  /** Creates a record that must not exist; resolves to false where one does. */
  create(name: string, data: Readonly<Record<string, string>>): Promise<boolean>;
  read(name: string): Promise<Readonly<Record<string, string>> | undefined>;
  /** Sets fields of an existing record. */
  merge(name: string, data: Readonly<Record<string, string>>): Promise<void>;
}

const RECORDS_PATH = `/api/v1/namespaces/${STATE_NAMESPACE}/configmaps`;

/**
 * Opens the connector's records; the state namespace is made with the first record where it is missing.
 * All methods throw KUBERNETES_UNAVAILABLE, KUBERNETES_FORBIDDEN or WRITE_REFUSED; `merge` OBJECT_MISSING too.
 * @param api with the rights for the state namespace, which the account that applies packages does not have
 */
export function createStateRecords(api: KubeApi): StateRecords {
  /** Resolves to false where there is such an object already. */
  async function post(path: string, object: unknown): Promise<boolean> {
    const query = { fieldManager: FIELD_MANAGER, fieldValidation: 'Strict' };
    const call: WriteCall = { method: 'POST', path, query, contentType: 'application/json', body: toJsonBody(object) };
    return api.write(call).then(
      () => true,
      (error: unknown) => {
        if (error instanceof ApiStatusError && error.reason === 'AlreadyExists') return false;
        throw error;
      },
    );
  }

  return {
    create: (name, data) =>
      asConnectorError(async () => {
        const labels = { 'app.kubernetes.io/managed-by': FIELD_MANAGER };
        const record = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, labels }, data };
        try {
          return await post(RECORDS_PATH, record);
        } catch (error) {
          if (!(error instanceof ApiStatusError && error.isNotFound)) throw error;
          await post('/api/v1/namespaces', {
            apiVersion: 'v1',
            kind: 'Namespace',
            metadata: { name: STATE_NAMESPACE, labels },
          });
          return post(RECORDS_PATH, record);
        }
      }),

    async read(name) {
      const record = await api.get(`${RECORDS_PATH}/${name}`);
      const data = at(record, 'data');
      if (!record) return undefined;
      return isRecord(data) ? (data as Readonly<Record<string, string>>) : {}; // a ConfigMap's data are texts
    },

    merge: (name, data) =>
      asConnectorError(async () => {
        const query = { fieldManager: FIELD_MANAGER, fieldValidation: 'Strict' };
        const contentType = 'application/merge-patch+json';
        await api.write({
          method: 'PATCH',
          path: `${RECORDS_PATH}/${name}`,
          query,
          contentType,
          body: toJsonBody({ data }),
        });
      }),
  };
}

async function asConnectorError<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof ApiStatusError)) throw error;
    throw error.isNotFound
      ? new ConnectorError('OBJECT_MISSING', error.message, { cause: error })
      : error.toConnectorError();
  }
}
