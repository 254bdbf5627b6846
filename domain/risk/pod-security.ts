import type { RiskLevel } from '../wpk.ts';
import { at, entriesAt, inWord, inWords, listAt, textAt, textsAt } from '../json-values.ts';
import type { ChangedPod, Pod } from './pods.ts';
import type { RiskRule } from './rule.ts';

/**
 * The Pod Security Standards, each check a rule of its own: those of `k8s.io/pod-security-admission/policy` v0.34, from
 * where the conditions and the names come. The standards in words:
 * https://kubernetes.io/docs/concepts/security/pod-security-standards/
 *
 * Baseline keeps a pod from its node, so what breaks out is high and what loosens the walls is medium. Restricted is
 * the state of the art, and medium.
 */
export const POD_SECURITY_VERSION = 'v1.34';

interface Check {
  /** The name of the check there, in kebab-case. */
  readonly id: string;
  readonly standard: 'baseline' | 'restricted';
  readonly level: RiskLevel;
  readonly sentence: string;
  /** What a pod does that does not keep to it. */
  readonly does: string;
  /** Where it does: settings, by who has them. */
  readonly find: (pod: Pod) => string[];
}

const DEFAULT_CAPABILITIES: ReadonlySet<unknown> = new Set([
  ...['AUDIT_WRITE', 'CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'FSETID', 'KILL', 'MKNOD', 'NET_BIND_SERVICE', 'SETFCAP'],
  ...['SETGID', 'SETPCAP', 'SETUID', 'SYS_CHROOT'],
]);

const SAFE_SYSCTLS: ReadonlySet<unknown> = new Set([
  'kernel.shm_rmid_forced',
  ...['ip_local_port_range', 'tcp_syncookies', 'ping_group_range', 'ip_unprivileged_port_start'].map(ipv4),
  ...['ip_local_reserved_ports', 'tcp_keepalive_time', 'tcp_fin_timeout', 'tcp_keepalive_intvl'].map(ipv4),
  ...['tcp_keepalive_probes', 'tcp_rmem', 'tcp_wmem'].map(ipv4),
]);

const SELINUX_TYPES: ReadonlySet<unknown> = new Set([
  ...['', 'container_t', 'container_init_t', 'container_kvm_t', 'container_engine_t'],
]);

const VOLUME_TYPES: ReadonlySet<string> = new Set([
  ...['configMap', 'csi', 'downwardAPI', 'emptyDir', 'ephemeral', 'image', 'persistentVolumeClaim', 'projected'],
  'secret',
]);

const PROFILE_TYPES: ReadonlySet<unknown> = new Set(['RuntimeDefault', 'Localhost']);

const APPARMOR_ANNOTATION = 'container.apparmor.security.beta.kubernetes.io/';

const CHECKS: readonly Check[] = [
  {
    id: 'host-namespaces',
    standard: 'baseline',
    level: 'high',
    sentence: 'A pod shares the network, the processes or the IPC of its node.',
    does: 'shares namespaces of its node',
    find: ({ spec }) => ['hostNetwork', 'hostPID', 'hostIPC'].filter((key) => isOn(at(spec, key))),
  },
  {
    id: 'privileged',
    standard: 'baseline',
    level: 'high',
    sentence: 'A container is privileged: it may do on its node what root may.',
    does: 'runs privileged',
    find: (pod) => settings(pod, { of: 'containers', path: ['privileged'], isBad: isOn }),
  },
  {
    id: 'capabilities-baseline',
    standard: 'baseline',
    level: 'high',
    sentence: 'A container adds capabilities beyond the default set, NET_RAW and SYS_ADMIN among them.',
    does: 'adds capabilities',
    find: (pod) => addedCapabilities(pod, DEFAULT_CAPABILITIES),
  },
  {
    id: 'host-path-volumes',
    standard: 'baseline',
    level: 'high',
    sentence: 'A pod mounts files of its node.',
    does: 'mounts files of its node',
    find: ({ spec }) =>
      listAt(spec, 'volumes').flatMap((volume) => {
        const hostPath = at(volume, 'hostPath');
        return hostPath === undefined ? [] : [textAt(hostPath, 'path') ?? 'hostPath'];
      }),
  },
  {
    id: 'windows-host-process',
    standard: 'baseline',
    level: 'high',
    sentence: 'A pod runs as a process of its Windows node.',
    does: 'runs as a process of its node',
    find: (pod) => settings(pod, { path: ['windowsOptions', 'hostProcess'], isBad: isOn }),
  },
  {
    id: 'host-ports',
    standard: 'baseline',
    level: 'medium',
    sentence: 'A container listens on a port of its node.',
    does: 'listens on ports of its node',
    find: (pod) =>
      pod.containers.flatMap(({ who, container }) =>
        listAt(container, 'ports').flatMap((port) => {
          const hostPort = at(port, 'hostPort');
          return hostPort === undefined || hostPort === 0 ? [] : [`${who}: ${inWord(hostPort)}`];
        }),
      ),
  },
  {
    id: 'host-probes-and-host-lifecycle',
    standard: 'baseline',
    level: 'medium',
    sentence: 'A probe or lifecycle handler has the kubelet call another host than the pod.',
    does: 'has the kubelet call other hosts',
    find: calledHosts,
  },
  {
    id: 'app-armor-profile',
    standard: 'baseline',
    level: 'medium',
    sentence: 'A pod turns the default AppArmor profile off.',
    does: 'loosens AppArmor',
    find: (pod) => [
      ...settings(pod, { path: ['appArmorProfile', 'type'], isBad: (type) => !PROFILE_TYPES.has(type) }),
      ...entriesAt(pod.metadata, 'annotations').flatMap(([key, value]) =>
        key.startsWith(APPARMOR_ANNOTATION) && !/^($|runtime\/default$|localhost\/)/.test(inWord(value))
          ? [`container ${key.slice(APPARMOR_ANNOTATION.length)}: ${inWord(value)}`]
          : [],
      ),
    ],
  },
  {
    id: 'se-linux-options',
    standard: 'baseline',
    level: 'medium',
    sentence: 'A pod asks for an SELinux type that is not for containers, or for a user or role.',
    does: 'loosens SELinux',
    find: (pod) => [
      ...settings(pod, { path: ['seLinuxOptions', 'type'], isBad: (type) => !SELINUX_TYPES.has(type) }),
      ...settings(pod, { path: ['seLinuxOptions', 'user'], isBad: (user) => user !== '' }),
      ...settings(pod, { path: ['seLinuxOptions', 'role'], isBad: (role) => role !== '' }),
    ],
  },
  {
    id: 'proc-mount',
    standard: 'baseline',
    level: 'medium',
    sentence: 'A container sees /proc without the usual masks.',
    does: 'unmasks /proc',
    find: (pod) => settings(pod, { of: 'containers', path: ['procMount'], isBad: (mount) => mount !== 'Default' }),
  },
  {
    id: 'seccomp-profile-baseline',
    standard: 'baseline',
    level: 'medium',
    sentence: 'A pod turns seccomp off.',
    does: 'turns seccomp off',
    find: badSeccompProfiles,
  },
  {
    id: 'sysctls',
    standard: 'baseline',
    level: 'medium',
    sentence: 'A pod sets kernel parameters that are not on the safe list.',
    does: 'sets kernel parameters',
    find: ({ spec }) =>
      listAt(spec, 'securityContext', 'sysctls').flatMap((sysctl) => {
        const name = at(sysctl, 'name');
        return SAFE_SYSCTLS.has(name) ? [] : [inWord(name)];
      }),
  },
  {
    id: 'restricted-volumes',
    standard: 'restricted',
    level: 'medium',
    sentence: 'A pod mounts a volume of a type that reaches around claims, such as hostPath or NFS.',
    does: 'mounts volumes of unrestricted types',
    // A volume that says nothing is an emptyDir.
    find: ({ spec }) =>
      listAt(spec, 'volumes').flatMap((volume) =>
        entriesAt(volume).flatMap(([type]) => (type === 'name' || VOLUME_TYPES.has(type) ? [] : [type])),
      ),
  },
  {
    id: 'allow-privilege-escalation',
    standard: 'restricted',
    level: 'medium',
    sentence: 'A container does not set allowPrivilegeEscalation to false.',
    does: 'may gain privileges',
    find: (pod) =>
      isWindows(pod)
        ? []
        : pod.containers.flatMap(({ who, container }) =>
            at(container, 'securityContext', 'allowPrivilegeEscalation') === false
              ? []
              : [`${who}: allowPrivilegeEscalation is not false`],
          ),
  },
  {
    id: 'run-as-non-root',
    standard: 'restricted',
    level: 'medium',
    sentence: 'A container may run as root: runAsNonRoot is not true.',
    does: 'may run as root',
    find: (pod) => [
      ...settings(pod, { path: ['runAsNonRoot'], isBad: (value) => value !== true }),
      ...unset(pod, ['runAsNonRoot'], (value) => value === true),
    ],
  },
  {
    id: 'run-as-user',
    standard: 'restricted',
    level: 'medium',
    sentence: 'A container runs as the user 0.',
    does: 'runs as root',
    find: (pod) => settings(pod, { path: ['runAsUser'], isBad: (user) => user === 0 }),
  },
  {
    id: 'seccomp-profile-restricted',
    standard: 'restricted',
    level: 'medium',
    sentence: 'A container has no seccomp profile.',
    does: 'runs without a seccomp profile',
    find: (pod) =>
      isWindows(pod)
        ? []
        : [...badSeccompProfiles(pod), ...unset(pod, ['seccompProfile', 'type'], (type) => PROFILE_TYPES.has(type))],
  },
  {
    id: 'capabilities-restricted',
    standard: 'restricted',
    level: 'medium',
    sentence: 'A container does not drop all capabilities, or adds another one than NET_BIND_SERVICE.',
    does: 'keeps capabilities',
    find: (pod) =>
      isWindows(pod)
        ? []
        : [
            ...pod.containers.flatMap(({ who, container }) =>
              textsAt(container, 'securityContext', 'capabilities', 'drop').includes('ALL')
                ? []
                : [`${who}: does not drop ALL`],
            ),
            ...addedCapabilities(pod, new Set(['NET_BIND_SERVICE'])),
          ],
  },
];

/** Judged are pods that are new or other than before; of those that stay, only what they did not do before. */
export const POD_SECURITY_RULES: readonly RiskRule[] = CHECKS.map(({ id, standard, level, sentence, does, find }) => ({
  id: `pod-security/${id}`,
  level,
  sentence: `${sentence} (${standard})`,
  find: ({ pods }) => {
    const found = pods.flatMap((pod) => violations(pod, find));
    return found.length > 0 ? `${does} (${inWords(found)})` : undefined;
  },
}));

function violations(pod: ChangedPod, find: Check['find']): string[] {
  const found = find(pod);
  if (pod.isNew || pod.before === undefined) return found;
  // Only what lies outside the spec, an annotation, can differ.
  const was = new Set(find(pod.before));
  return found.filter((one) => !was.has(one));
}

function ipv4(name: string): string {
  return `net.ipv4.${name}`;
}

/** A switch that is not off. What is no boolean the API server refuses; until it does, it counts. */
function isOn(value: unknown): boolean {
  return value !== undefined && value !== false;
}

/** Windows pods can't set what only Linux has. */
function isWindows({ spec }: Pod): boolean {
  return at(spec, 'os', 'name') === 'windows';
}

interface Setting {
  /** Containers alone, where the pod's own security context has no such field. */
  readonly of?: 'containers';
  /** Inside a security context. */
  readonly path: readonly string[];
  readonly isBad: (value: unknown) => boolean;
}

/** What the security contexts of the pod and of its containers say that they should not. */
function settings(pod: Pod, { of, path, isBad }: Setting): string[] {
  const contexts = pod.containers.map(({ who, container }) => ({ who, context: at(container, 'securityContext') }));
  if (of === undefined) contexts.unshift({ who: 'pod', context: at(pod.spec, 'securityContext') });
  return contexts.flatMap(({ who, context }) => {
    const value = at(context, ...path);
    return value !== undefined && isBad(value) ? [`${who}: ${path.join('.')} ${inWord(value)}`] : [];
  });
}

/** Containers that leave unsaid what the pod does not say for them. */
function unset(pod: Pod, path: readonly string[], isGood: (value: unknown) => boolean): string[] {
  if (isGood(at(pod.spec, 'securityContext', ...path))) return [];
  return pod.containers.flatMap(({ who, container }) =>
    at(container, 'securityContext', ...path) === undefined ? [`${who}: ${path.join('.')} is not set`] : [],
  );
}

function badSeccompProfiles(pod: Pod): string[] {
  return settings(pod, { path: ['seccompProfile', 'type'], isBad: (type) => !PROFILE_TYPES.has(type) });
}

function addedCapabilities(pod: Pod, allowed: ReadonlySet<unknown>): string[] {
  return pod.containers.flatMap(({ who, container }) =>
    listAt(container, 'securityContext', 'capabilities', 'add').flatMap((capability) =>
      allowed.has(capability) ? [] : [`${who}: ${inWord(capability)}`],
    ),
  );
}

function calledHosts(pod: Pod): string[] {
  const handlers = [
    ...['livenessProbe', 'readinessProbe', 'startupProbe'].map((probe) => [probe]),
    ...['postStart', 'preStop'].map((hook) => ['lifecycle', hook]),
  ];
  return pod.containers.flatMap(({ who, container }) =>
    handlers.flatMap((handler) =>
      ['httpGet', 'tcpSocket'].flatMap((call) => {
        const host = at(container, ...handler, call, 'host');
        return host === undefined || host === '' ? [] : [`${who}: ${inWord(host)}`];
      }),
    ),
  );
}
