import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { ConnectorError } from '../../domain/errors.ts';
import type { ExecutorLease, FreezeData } from '../../domain/freeze.ts';
import { freezeNameOf } from '../../domain/freeze.ts';
import { FIELD_MANAGER, STATE_NAMESPACE } from '../../domain/names.ts';
import { describeObject } from '../../domain/plan.ts';
import type { ExecutionReport } from '../../domain/status.ts';
import { ApiStatusError } from './api-status-error.ts';
import { Execution, planChanged } from './execution.ts';
import type { ExecutionOptions } from './execution-types.ts';
import { toJsonBody } from './json-body.ts';
import type { KubeApi, ListOptions, WriteCall } from './kube-api.ts';
import { at, isRecord, type KubeObject, versionOf } from './kube-object.ts';
import type { Planner } from './planner.ts';
import { Undo, type UndoOptions } from './undo.ts';

export interface Writer {
  /**
   * Carries out an approved plan, step after step. Each write is bound to the state that was planned from; where that
   * changed, it is planned anew and goes on only if what would happen is still what was approved.
   * Aborting ends it before the next write; writes under way are awaited.
   * @throws {ConnectorError} PLAN_REJECTED, PLAN_CHANGED, FIELD_CONFLICT, WRITE_REFUSED, OBJECT_MISSING, NOT_READY,
   * KUBERNETES_FORBIDDEN, KUBERNETES_UNAVAILABLE; whatever `beforeWrite` throws; the signal's reason
   */
  execute(options: ExecutionOptions): Promise<ExecutionReport>;
  /**
   * Undoes what a package has written, the last first. What somebody else changed meanwhile is left, and the report says
   * so; undoing what is undone already does nothing.
   * @throws {ConnectorError} KUBERNETES_FORBIDDEN for a missing right to read, KUBERNETES_UNAVAILABLE; whatever
   * `beforeWrite` throws; the signal's reason
   */
  undo(options: UndoOptions): Promise<void>;
}

/** The one file that writes to the cluster: everything else reads, or asks for dry runs. */
export function createWriter({ api, planner }: { readonly api: KubeApi; readonly planner: Planner }): Writer {
  return {
    async execute(options) {
      requireApproval(planner, options);
      const execution = new Execution(api, api.write, planner, options);
      for (const step of options.wpk.steps) {
        const done = options.done?.get(step.id);
        if (done) options.report.steps.push(done);
        else await execution.run(step);
      }
      return options.report;
    },

    undo: (options) => new Undo(api, api.write, options).run(),
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
  create(name: string, data: RecordData): Promise<boolean>;
  read(name: string): Promise<RecordData | undefined>;
  /** Sets fields of an existing record, and removes those that are null. */
  merge(name: string, data: RecordChange): Promise<void>;
  /**
   * Sets fields by what a record says, made where it is missing; nobody else's change comes in between.
   * @param change gets the record as it is, perhaps more than once, and gives what to set; undefined changes nothing
   */
  amend(name: string, change: (record: RecordData | undefined) => RecordChange | undefined): Promise<void>;
  /** The records whose names start so, by name. */
  list(prefix: string): Promise<ReadonlyMap<string, RecordData>>;
  /** Removes a record; one that is gone already is no error. */
  remove(name: string): Promise<void>;
}

export type RecordData = Readonly<Record<string, string>>;
export type RecordChange = Readonly<Record<string, string | null>>;

/** How often a record is read anew because somebody else changed it. */
const MAX_AMENDMENTS = 20;

const AMENDMENT_PAUSE_MS = 10;

/** More records than that were never meant to be in one cluster. */
const MAX_RECORDS = 100_000;

/** How long a worker that may not make a key waits for one that may, which is started at the same time. */
const KEY_WITHIN_MS = 60_000;
const KEY_RETRY_MS = 500;

/**
 * Reads a random key of the connector's own from a Secret in the state namespace: all workers of the cluster then have the
 * same. Who may make it makes it where it is missing; the others wait for that.
 * @returns 32 bytes
 * @throws {ConnectorError} KUBERNETES_UNAVAILABLE, KUBERNETES_FORBIDDEN, WRITE_REFUSED
 */
export async function sharedKey(api: KubeApi, name: string, namespace = STATE_NAMESPACE): Promise<Buffer> {
  const until = performance.now() + KEY_WITHIN_MS;
  for (;;) {
    const secret = await api.get(`${secretsPath(namespace)}/${name}`);
    const key = at(secret, 'data', 'key');
    if (typeof key === 'string') return Buffer.from(key, 'base64');
    if (secret) throw new ConnectorError('CONFIG_INVALID', `The Secret ${name} holds no key.`);
    try {
      await makeSharedKey(api, name, namespace);
    } catch (error) {
      const isForbidden = error instanceof ConnectorError && error.code === 'KUBERNETES_FORBIDDEN';
      if (!isForbidden || performance.now() > until) throw error;
      await sleep(KEY_RETRY_MS);
    }
  }
}

/** Makes such a key where it is missing, without reading it. Throws as `sharedKey` does. */
export async function makeSharedKey(api: KubeApi, name: string, namespace = STATE_NAMESPACE): Promise<void> {
  const metadata = { name, labels: OWN_LABELS };
  const data = { key: randomBytes(32).toString('base64') };
  const secret = { apiVersion: 'v1', kind: 'Secret', metadata, data };
  await asConnectorError(() => createIn(api, namespace, secretsPath(namespace), secret));
}

/** Secrets of the connector's own in its state namespace, each with a label that tells what it is about. */
export interface StateSecrets {
  /** Makes a Secret, or gives it exactly these data. */
  put(name: string, about: string, data: Readonly<Record<string, Uint8Array>>): Promise<void>;
  /** Those about one thing, by name. */
  list(about: string): Promise<ReadonlyMap<string, Readonly<Record<string, Uint8Array>>>>;
  /** What there is something about. */
  subjects(): Promise<ReadonlySet<string>>;
  removeAll(about: string): Promise<void>;
}

const secretsPath = (namespace: string) => `/api/v1/namespaces/${namespace}/secrets`;
const ABOUT_LABEL = 'neuralops.io/about';

/**
 * Opens the connector's own Secrets.
 * All methods throw KUBERNETES_UNAVAILABLE, KUBERNETES_FORBIDDEN or WRITE_REFUSED.
 * @param api with the rights for the state namespace, which the account that applies packages does not have
 */
export function createStateSecrets(api: KubeApi, namespace = STATE_NAMESPACE): StateSecrets {
  const path = secretsPath(namespace);
  const list = async (options: Pick<ListOptions, 'labelSelector' | 'onlyMetadata'>) => {
    const secrets = await api.list(path, { atMost: MAX_RECORDS, ...options });
    if (!secrets) throw new ConnectorError('KUBERNETES_UNAVAILABLE', 'There are too many Secrets to list.');
    return secrets;
  };
  return {
    put: (name, about, data) =>
      asConnectorError(async () => {
        const encoded = Object.entries(data).map(
          ([key, bytes]) => [key, Buffer.from(bytes).toString('base64')] as const,
        );
        const metadata = { name, labels: { ...OWN_LABELS, [ABOUT_LABEL]: about } };
        const secret = { apiVersion: 'v1', kind: 'Secret', metadata, data: Object.fromEntries(encoded) };
        const query = { fieldManager: FIELD_MANAGER, fieldValidation: 'Strict', force: 'true' };
        const contentType = 'application/apply-patch+yaml';
        const call = { method: 'PATCH', path: `${path}/${name}`, query, contentType, body: toJsonBody(secret) };
        await inNamespace(api, namespace, () => api.write(call as WriteCall));
      }),

    async list(about) {
      const secrets = await list({ labelSelector: `${ABOUT_LABEL}=${about}` });
      return new Map(secrets.map((secret) => [secret.metadata.name, bytesIn(secret)]));
    },

    async subjects() {
      const found = await list({ labelSelector: ABOUT_LABEL, onlyMetadata: true });
      const labels = found.map(({ metadata }) => metadata.labels?.[ABOUT_LABEL]);
      return new Set(labels.filter((label) => label !== undefined));
    },

    removeAll: (about) =>
      asConnectorError(async () => {
        const query = { labelSelector: `${ABOUT_LABEL}=${about}` };
        const body = toJsonBody({ apiVersion: 'v1', kind: 'DeleteOptions' });
        await api.write({ method: 'DELETE', path, query, contentType: 'application/json', body });
      }),
  };
}

function bytesIn(secret: KubeObject): Readonly<Record<string, Uint8Array>> {
  const data = at(secret, 'data');
  const entries = Object.entries(isRecord(data) ? data : {});
  return Object.fromEntries(entries.map(([key, encoded]) => [key, Buffer.from(String(encoded), 'base64')]));
}

const MANAGED_BY = 'app.kubernetes.io/managed-by';
const OWN_LABELS = { [MANAGED_BY]: FIELD_MANAGER };

const recordsPath = (namespace: string) => `/api/v1/namespaces/${namespace}/configmaps`;

/**
 * Opens the connector's records; the state namespace is made with the first record where it is missing.
 * All methods throw KUBERNETES_UNAVAILABLE, KUBERNETES_FORBIDDEN or WRITE_REFUSED; `merge` OBJECT_MISSING too.
 * @param api with the rights for the state namespace, which the account that applies packages does not have
 */
export function createStateRecords(api: KubeApi, namespace = STATE_NAMESPACE): StateRecords {
  const path = recordsPath(namespace);
  const create: StateRecords['create'] = (name, data) =>
    asConnectorError(() => {
      const metadata = { name, labels: OWN_LABELS };
      return createIn(api, namespace, path, { apiVersion: 'v1', kind: 'ConfigMap', metadata, data });
    });
  const merge = (name: string, data: RecordChange, metadata?: { readonly resourceVersion: string }) =>
    asConnectorError(async () => {
      const query = { fieldManager: FIELD_MANAGER, fieldValidation: 'Strict' };
      const contentType = 'application/merge-patch+json';
      const body = toJsonBody({ data, ...(metadata && { metadata }) });
      await api.write({ method: 'PATCH', path: `${path}/${name}`, query, contentType, body });
    });

  return {
    create,
    merge: (name, data) => merge(name, data),

    async read(name) {
      const record = await api.get(`${path}/${name}`);
      return record && dataOf(record);
    },

    async amend(name, change) {
      for (let attempt = 1; ; attempt++) {
        const record = await api.get(`${path}/${name}`);
        const data = change(record && dataOf(record));
        if (!data) return;
        try {
          if (record) return await merge(name, data, { resourceVersion: versionOf(record).resourceVersion });
          if (await create(name, withoutNulls(data))) return;
        } catch (error) {
          const isStale = error instanceof ConnectorError && isStaleAnswer(error.cause);
          if (!isStale || attempt === MAX_AMENDMENTS) throw error;
        }
        await sleep(Math.random() * attempt * AMENDMENT_PAUSE_MS); // or all who try would go on in step
      }
    },

    async list(prefix) {
      const labelSelector = `${MANAGED_BY}=${FIELD_MANAGER}`;
      const records = await api.list(path, { atMost: MAX_RECORDS, labelSelector });
      if (!records) throw new ConnectorError('KUBERNETES_UNAVAILABLE', 'There are too many records to list.');
      const own = records.filter(({ metadata }) => metadata.name.startsWith(prefix));
      return new Map(own.map((record) => [record.metadata.name, dataOf(record)]));
    },

    remove: (name) => removeOwn(api, `${path}/${name}`),
  };
}

/**
 * Sets or lifts the freeze, whatever it is now; the object is made where it is missing.
 * @param fieldManager under which name: managed fields tell who froze
 * @returns the resourceVersion that the freeze has from now on
 * @throws {ConnectorError} KUBERNETES_UNAVAILABLE, KUBERNETES_FORBIDDEN, WRITE_REFUSED
 */
export async function writeFreeze(
  api: KubeApi,
  clusterId: string,
  data: FreezeData,
  fieldManager: string,
  namespace = STATE_NAMESPACE,
): Promise<string> {
  const name = freezeNameOf(clusterId);
  const body = toJsonBody({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, labels: OWN_LABELS }, data });
  // In an emergency nobody asks whose fields they are.
  const query = { fieldManager, force: 'true' };
  const contentType = 'application/apply-patch+yaml';
  const call = { method: 'PATCH', path: `${recordsPath(namespace)}/${name}`, query, contentType, body } as const;
  return versionOf(await asConnectorError(() => inNamespace(api, namespace, () => api.write(call)))).resourceVersion;
}

function dataOf(record: KubeObject): RecordData {
  const data = at(record, 'data');
  return isRecord(data) ? (data as RecordData) : {}; // a ConfigMap's data are texts
}

function withoutNulls(change: RecordChange): RecordData {
  return Object.fromEntries(Object.entries(change).filter((entry): entry is [string, string] => entry[1] !== null));
}

function isStaleAnswer(cause: unknown): boolean {
  return cause instanceof ApiStatusError && cause.isStale;
}

/** Removes an object of the connector's own; one that is gone already is no error. */
function removeOwn(api: KubeApi, path: string): Promise<void> {
  return asConnectorError(async () => {
    const body = toJsonBody({ apiVersion: 'v1', kind: 'DeleteOptions' });
    try {
      await api.write({ method: 'DELETE', path, query: {}, contentType: 'application/json', body });
    } catch (error) {
      if (!(error instanceof ApiStatusError && error.isNotFound)) throw error;
    }
  });
}

/** Creates an object in a namespace of the connector's own; false where the object is there already. */
function createIn(api: KubeApi, namespace: string, path: string, object: unknown): Promise<boolean> {
  return inNamespace(api, namespace, () => post(api, path, object));
}

/** Writes into a namespace of the connector's own, which is made where it is missing. */
async function inNamespace<T>(api: KubeApi, namespace: string, write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (error) {
    if (!(error instanceof ApiStatusError && error.isNotFound)) throw error;
    const metadata = { name: namespace, labels: OWN_LABELS };
    await post(api, '/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata });
    return write();
  }
}

/** Resolves to false where there is such an object already. */
async function post(api: KubeApi, path: string, object: unknown): Promise<boolean> {
  const query = { fieldManager: FIELD_MANAGER, fieldValidation: 'Strict' };
  try {
    await api.write({ method: 'POST', path, query, contentType: 'application/json', body: toJsonBody(object) });
    return true;
  } catch (error) {
    if (error instanceof ApiStatusError && error.reason === 'AlreadyExists') return false;
    throw error;
  }
}

async function asConnectorError<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof ApiStatusError)) throw error;
    throw error.isNotFound
      ? new ConnectorError('OBJECT_MISSING', error.message, { cause: error })
      : error.toConnectorError('WRITE_REFUSED');
  }
}

/** What a writer of the audit log says of itself, in a Lease of its own: that it lives, and where its chain ends. */
export interface HeadLease {
  readonly name: string;
  readonly clusterId: string;
  /** The writer's name. */
  readonly holder: string;
  /** What its process does. */
  readonly roles: readonly string[];
  readonly renewedAt: Date;
  /** The signed head as JSON: to whoever reads it a text from outside. */
  readonly head: string;
  /** PEM. */
  readonly publicKey: string;
}

export interface HeadLeases {
  /** Makes the Lease, or renews it. */
  publish(lease: HeadLease): Promise<void>;
  read(name: string): Promise<HeadLease | undefined>;
  /** Those of one cluster id, whoever wrote them. */
  list(clusterId: string): Promise<HeadLease[]>;
  remove(name: string): Promise<void>;
}

const leasesPath = (namespace: string) => `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`;
const CLUSTER_LABEL = 'neuralops.io/audit-cluster';
const HEAD_ANNOTATION = 'neuralops.io/audit-head';
const KEY_ANNOTATION = 'neuralops.io/audit-key';
const ROLES_ANNOTATION = 'neuralops.io/roles';
/** Writers that a cluster has or had: far above what any has. */
const MAX_LEASES = 10_000;

/**
 * Opens the Leases in which audit heads are published.
 * All methods throw KUBERNETES_UNAVAILABLE, KUBERNETES_FORBIDDEN or WRITE_REFUSED.
 * @param namespace where each role may write its own; the Leases that locks hang on are better somewhere else
 */
export function createHeadLeases(api: KubeApi, namespace = STATE_NAMESPACE): HeadLeases {
  const path = leasesPath(namespace);
  return {
    publish: ({ name, clusterId, holder, roles, renewedAt, head, publicKey }) => {
      const labels = { [CLUSTER_LABEL]: clusterId };
      const annotations = {
        [HEAD_ANNOTATION]: head,
        [KEY_ANNOTATION]: publicKey,
        [ROLES_ANNOTATION]: roles.join(','),
      };
      return applyLease(
        api,
        namespace,
        { name, labels, annotations },
        { holderIdentity: holder, renewTime: toMicroTime(renewedAt) },
      );
    },

    async read(name) {
      const lease = await api.get(`${path}/${name}`);
      return lease && describeLease(lease);
    },

    async list(clusterId) {
      const labelSelector = `${CLUSTER_LABEL}=${clusterId}`;
      const leases = await api.list(path, { atMost: MAX_LEASES, labelSelector });
      return (leases ?? []).map(describeLease);
    },

    remove: (name) =>
      asConnectorError(async () => {
        const contentType = 'application/json';
        await api.write({ method: 'DELETE', path: `${path}/${name}`, query: {}, contentType, body: '{}' });
      }),
  };
}

interface LeaseMetadata {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

/** Makes a Lease of the connector's own, or renews it. Nobody else has a say in it. */
async function applyLease(api: KubeApi, namespace: string, metadata: LeaseMetadata, spec: object): Promise<void> {
  const labels = { ...OWN_LABELS, ...metadata.labels };
  const lease = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { ...metadata, labels }, spec };
  const query = { fieldManager: FIELD_MANAGER, fieldValidation: 'Strict', force: 'true' };
  const contentType = 'application/apply-patch+yaml';
  const path = `${leasesPath(namespace)}/${metadata.name}`;
  const body = toJsonBody(lease);
  await asConnectorError(() =>
    inNamespace(api, namespace, () => api.write({ method: 'PATCH', path, query, contentType, body })),
  );
}

/** RFC 3339 with six digits, as Leases have it. */
function toMicroTime(date: Date): string {
  return date.toISOString().replace(/Z$/, '000Z');
}

function describeLease(lease: KubeObject): HeadLease {
  const text = (...path: readonly string[]) => String(at(lease, ...path) ?? '');
  return {
    name: lease.metadata.name,
    clusterId: text('metadata', 'labels', CLUSTER_LABEL),
    holder: text('spec', 'holderIdentity'),
    roles: text('metadata', 'annotations', ROLES_ANNOTATION).split(','),
    renewedAt: new Date(text('spec', 'renewTime')),
    head: text('metadata', 'annotations', HEAD_ANNOTATION),
    publicKey: text('metadata', 'annotations', KEY_ANNOTATION),
  };
}

/** Leases in which executors say that they are at work, in the state namespace. */
export interface ExecutorLeases {
  /** Makes or renews a Lease. */
  publish(lease: Omit<ExecutorLease, 'renewed'> & { readonly renewedAt: Date }): Promise<void>;
  /** Those of one cluster. */
  list(): Promise<ExecutorLease[]>;
  remove(name: string): Promise<void>;
}

const EXECUTOR_LABEL = 'neuralops.io/executor-of';
const ANNOTATIONS = {
  freezeSeen: 'neuralops.io/freeze-seen',
  mayWrite: 'neuralops.io/may-write',
  writesInFlight: 'neuralops.io/writes-in-flight',
} as const;

/** All methods throw KUBERNETES_UNAVAILABLE, KUBERNETES_FORBIDDEN or WRITE_REFUSED. */
export function createExecutorLeases(api: KubeApi, clusterId: string, namespace = STATE_NAMESPACE): ExecutorLeases {
  const path = leasesPath(namespace);
  return {
    async publish({ name, holder, durationSeconds, freezeSeen, mayWrite, writesInFlight, renewedAt }) {
      const annotations = {
        [ANNOTATIONS.freezeSeen]: freezeSeen,
        [ANNOTATIONS.mayWrite]: String(mayWrite),
        [ANNOTATIONS.writesInFlight]: String(writesInFlight),
      };
      const labels = { [EXECUTOR_LABEL]: clusterId };
      const spec = { holderIdentity: holder, leaseDurationSeconds: durationSeconds, renewTime: toMicroTime(renewedAt) };
      await applyLease(api, namespace, { name, labels, annotations }, spec);
    },

    async list() {
      const leases = await api.list(path, {
        atMost: MAX_LEASES,
        labelSelector: `${EXECUTOR_LABEL}=${clusterId}`,
      });
      if (!leases) throw new ConnectorError('KUBERNETES_UNAVAILABLE', 'There are too many Leases to list.');
      return leases.map(({ metadata, spec }) => ({
        name: metadata.name,
        holder: String(at(spec, 'holderIdentity') ?? ''),
        durationSeconds: Number(at(spec, 'leaseDurationSeconds') ?? 0),
        freezeSeen: metadata.annotations?.[ANNOTATIONS.freezeSeen] ?? '0',
        mayWrite: metadata.annotations?.[ANNOTATIONS.mayWrite] !== 'false',
        writesInFlight: Number(metadata.annotations?.[ANNOTATIONS.writesInFlight] ?? 1),
        renewed: String(at(spec, 'renewTime') ?? ''),
      }));
    },

    remove: (name) => removeOwn(api, `${path}/${name}`),
  };
}
