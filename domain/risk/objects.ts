import { BUILT_IN_POLICY, protectedNamespaces } from '../policy.ts';
import { at, inWord, inWords, same } from '../json-values.ts';
import type { RiskRule } from './rule.ts';

/** Kinds that change how the API server treats other requests. */
export const ADMISSION_KINDS: readonly string[] = [
  'ValidatingWebhookConfiguration',
  'MutatingWebhookConfiguration',
  'ValidatingAdmissionPolicy',
  'ValidatingAdmissionPolicyBinding',
  'MutatingAdmissionPolicy',
  'MutatingAdmissionPolicyBinding',
  'APIService',
];

/** Deleting one of these takes data or many other objects with it. */
const HOLDS_OTHERS = new Set(['Namespace', 'PersistentVolumeClaim', 'PersistentVolume', 'CustomResourceDefinition']);

/** Whatever else a policy protects, packages may not touch: it denies them, which is more than a risk. */
const PROTECTED = protectedNamespaces(BUILT_IN_POLICY);

/** Annotations of a ServiceAccount by which a cloud gives it rights of its own. */
const CLOUD_IDENTITIES = [
  'eks.amazonaws.com/role-arn',
  'iam.gke.io/gcp-service-account',
  'azure.workload.identity/client-id',
];

const POD_SECURITY_LABEL = 'pod-security.kubernetes.io/enforce';

/** What the kind of an object and what happens to it say. */
export const OBJECT_RULES: readonly RiskRule[] = [
  {
    id: 'protected-namespace',
    level: 'high',
    sentence: 'An object changes in a namespace that runs the cluster or the connector.',
    find: ({ planned: { object } }) => {
      const namespace = object.kind === 'Namespace' ? object.name : object.namespace;
      return namespace !== undefined && PROTECTED.has(namespace)
        ? `is in the protected namespace ${namespace}`
        : undefined;
    },
  },
  {
    id: 'deletes-data',
    level: 'high',
    sentence: 'A namespace, a volume, a claim or a CRD is deleted, with everything that it holds.',
    find: ({ planned, before }) =>
      planned.change === 'delete' && (HOLDS_OTHERS.has(planned.object.kind) || deletesItsClaims(before))
        ? 'is deleted with everything that it holds'
        : undefined,
  },
  {
    id: 'deletes',
    level: 'medium',
    sentence: 'An object is deleted.',
    find: ({ planned }) => (planned.change === 'delete' ? 'is deleted' : undefined),
  },
  {
    id: 'admission',
    level: 'high',
    sentence: 'A webhook, an admission policy or an APIService changes: how the API server treats other requests.',
    find: ({ planned }) =>
      ADMISSION_KINDS.includes(planned.object.kind) ? 'changes how the API server treats other requests' : undefined,
  },
  {
    id: 'crd',
    level: 'high',
    sentence: 'A CustomResourceDefinition changes.',
    find: ({ planned }) =>
      planned.object.kind === 'CustomResourceDefinition' ? 'changes which kinds the cluster knows' : undefined,
  },
  {
    id: 'node',
    level: 'high',
    sentence: 'A node changes.',
    find: ({ planned }) => (planned.object.kind === 'Node' ? 'changes a node that other workloads run on' : undefined),
  },
  {
    id: 'node-volume',
    level: 'high',
    sentence: 'A PersistentVolume lies on a node (hostPath or local): whoever claims it reaches the files there.',
    find: ({ planned, before, after }) =>
      planned.object.kind === 'PersistentVolume' &&
      ['hostPath', 'local'].some((key) => {
        const files = at(after, 'spec', key);
        return files !== undefined && !same(files, at(before, 'spec', key));
      })
        ? 'gives whoever claims it files of a node'
        : undefined,
  },
  {
    id: 'cloud-identity',
    level: 'high',
    sentence: 'A ServiceAccount takes on the identity of a cloud account.',
    find: ({ planned, before, after }) => {
      if (planned.object.kind !== 'ServiceAccount') return undefined;
      const annotation = (object: unknown, key: string) => at(object, 'metadata', 'annotations', key);
      const taken = CLOUD_IDENTITIES.flatMap((key) => {
        const identity = annotation(after, key);
        return identity === undefined || same(identity, annotation(before, key)) ? [] : [inWord(identity)];
      });
      return taken.length > 0 ? `takes on the cloud identity ${inWords(taken)}` : undefined;
    },
  },
  {
    id: 'pod-security-level',
    level: 'high',
    sentence: 'A namespace lets in less secure pods than before.',
    find: ({ planned, before, after }) => {
      if (planned.object.kind !== 'Namespace' || before === undefined || after === undefined) return undefined;
      const [was, will] = [enforcedLevel(before), enforcedLevel(after)];
      return LEVELS.indexOf(will) < LEVELS.indexOf(was) ? `enforces ${will} pod security, no longer ${was}` : undefined;
    },
  },
  {
    id: 'cluster-scope',
    level: 'medium',
    sentence: 'An object is not confined to a namespace.',
    find: ({ planned }) => (planned.object.namespace === undefined ? 'is not confined to a namespace' : undefined),
  },
  {
    id: 'secret',
    level: 'medium',
    sentence: 'A Secret changes.',
    find: ({ planned }) => (planned.object.kind === 'Secret' ? 'is a Secret' : undefined),
  },
  {
    id: 'force',
    level: 'medium',
    sentence: 'The package takes over fields that other managers own.',
    find: ({ planned }) => (planned.force ? 'takes over fields that other managers own' : undefined),
  },
  {
    id: 'not-verified',
    level: 'medium',
    sentence: 'The API server could not check a change beforehand.',
    find: ({ planned }) =>
      planned.verified?.by === 'nobody'
        ? `could not be checked by the API server: ${planned.verified.reason}`
        : undefined,
  },
  {
    id: 'not-shown',
    level: 'medium',
    sentence: 'The differences of an object are too large to be shown.',
    find: ({ planned }) =>
      planned.changesOmitted ? 'has differences that are too large to be shown in the plan' : undefined,
  },
];

/** A StatefulSet may take its claims, and with them its data, along. */
function deletesItsClaims(before: unknown): boolean {
  return at(before, 'spec', 'persistentVolumeClaimRetentionPolicy', 'whenDeleted') === 'Delete';
}

/** From loose to strict. */
const LEVELS = ['privileged', 'baseline', 'restricted'] as const;

/** What a namespace enforces; where it says nothing the cluster's default holds, which is privileged as a rule. */
function enforcedLevel(namespace: unknown): (typeof LEVELS)[number] {
  const level = at(namespace, 'metadata', 'labels', POD_SECURITY_LABEL);
  return LEVELS.find((one) => one === level) ?? 'privileged';
}
