import { parseImage } from '../image-reference.ts';
import { textAt } from '../json-values.ts';
import type { ObjectRef } from '../plan.ts';

/**
 * What the API server fills in by itself where a manifest says nothing (its `SetDefaults_*` functions), so that a new
 * object is read as somebody wrote it. Left out of the text only: digests and the plan's JSON have all of it. A value
 * that is not exactly the default is always shown.
 */
type Defaults = Readonly<Record<string, unknown>>;

/** By kind and the path below `spec`; `*` stands for any item of a list. Maps have their keys in order. */
const BY_KIND: Readonly<Record<string, Defaults>> = {
  'apps/v1 Deployment': {
    progressDeadlineSeconds: 600,
    revisionHistoryLimit: 10,
    strategy: { rollingUpdate: { maxSurge: '25%', maxUnavailable: '25%' }, type: 'RollingUpdate' },
  },
  'apps/v1 StatefulSet': {
    persistentVolumeClaimRetentionPolicy: { whenDeleted: 'Retain', whenScaled: 'Retain' },
    podManagementPolicy: 'OrderedReady',
    revisionHistoryLimit: 10,
    updateStrategy: { rollingUpdate: { partition: 0 }, type: 'RollingUpdate' },
  },
  'apps/v1 DaemonSet': {
    revisionHistoryLimit: 10,
    updateStrategy: { rollingUpdate: { maxSurge: 0, maxUnavailable: 1 }, type: 'RollingUpdate' },
  },
  'batch/v1 Job': {
    backoffLimit: 6,
    completionMode: 'NonIndexed',
    completions: 1,
    manualSelector: false,
    parallelism: 1,
    podReplacementPolicy: 'TerminatingOrFailed',
    suspend: false,
  },
  'batch/v1 CronJob': {
    concurrencyPolicy: 'Allow',
    failedJobsHistoryLimit: 1,
    successfulJobsHistoryLimit: 3,
    suspend: false,
  },
  'v1 Service': {
    internalTrafficPolicy: 'Cluster',
    ipFamilies: ['IPv4'],
    ipFamilyPolicy: 'SingleStack',
    sessionAffinity: 'None',
    type: 'ClusterIP',
    'ports/*/protocol': 'TCP',
  },
  'v1 Pod': {},
};

/** The same below the spec of a pod, in whatever kind it is. */
const IN_POD: Defaults = {
  dnsPolicy: 'ClusterFirst',
  enableServiceLinks: true,
  preemptionPolicy: 'PreemptLowerPriority',
  priority: 0,
  restartPolicy: 'Always',
  schedulerName: 'default-scheduler',
  securityContext: {},
  terminationGracePeriodSeconds: 30,
  'containers/*/resources': {},
  'containers/*/terminationMessagePath': '/dev/termination-log',
  'containers/*/terminationMessagePolicy': 'File',
  'containers/*/ports/*/protocol': 'TCP',
};

const POD_SPEC = { own: /^/, template: /^(jobTemplate\/spec\/)?template\/spec\// };

/**
 * Whether a value is what the API server fills in at this place.
 * @param holder the map that the value is in
 */
export function isServerDefault(
  { apiVersion, kind }: ObjectRef,
  path: readonly string[],
  value: unknown,
  holder: unknown,
): boolean {
  const table = own(BY_KIND, `${apiVersion} ${kind}`);
  const [root, ...below] = path.map((key) => (/^\d+$/.test(key) ? '*' : key));
  if (!table || root !== 'spec') return false;
  const place = below.join('/');
  const podSpec = kind === 'Pod' ? POD_SPEC.own : POD_SPEC.template;
  const inPod = podSpec.test(place)
    ? place.replace(podSpec, '').replace(/^initContainers\//, 'containers/')
    : undefined;
  if (inPod === 'containers/*/imagePullPolicy') return value === pullPolicyOf(holder);
  const wanted = own(table, place) ?? (inPod === undefined ? undefined : own(IN_POD, inPod));
  return wanted !== undefined && JSON.stringify(sorted(value)) === JSON.stringify(wanted);
}

/** `Always` for an image that can be another one each time, by its tag or by the lack of one. */
function pullPolicyOf(container: unknown): string {
  const { digest, tag = digest === undefined ? 'latest' : '' } = parseImage(textAt(container, 'image') ?? '') ?? {
    tag: '',
  };
  return tag === 'latest' ? 'Always' : 'IfNotPresent';
}

function own<T>(table: Readonly<Record<string, T>>, key: string): T | undefined {
  return Object.hasOwn(table, key) ? table[key] : undefined;
}

/** With the keys of maps in order, as the tables have them. */
function sorted(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  const entries = Object.entries(value).map(([key, inner]) => [key, sorted(inner)] as const);
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}
