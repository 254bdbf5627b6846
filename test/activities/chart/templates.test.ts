import { BlockList, isIPv6 } from 'node:net';
import { describe, expect, it } from '@jest/globals';
import { parse } from 'yaml';
import { at, listAt } from '../../../activities/kubernetes/kube-object.ts';
import { readValues } from '../../../dev/chart/values.ts';
import { RUNTIME } from '../../../bench/roles.ts';
import type { Manifest } from '../../support/chart.ts';
import { CHART, helm, refusal, render, VALUES, valuesFile } from '../../support/chart.ts';
import { runTool } from '../../support/tools.ts';

// R22, R29

const ROLES = ['execution', 'registration', 'metrics'] as const;

const workloads = (manifests: readonly Manifest[]) =>
  manifests.filter(({ kind }) => ['DaemonSet', 'StatefulSet', 'Deployment'].includes(kind));

const containersOf = (manifest: Manifest) => listAt(manifest, 'spec', 'template', 'spec', 'containers');

function workload(manifests: readonly Manifest[], role: string): Manifest {
  const found = workloads(manifests).find(({ metadata }) => metadata.name === `byoc-connector-${role}`);
  if (!found) throw new Error(`There is no workload for ${role}.`);
  return found;
}

function envOf(manifests: readonly Manifest[], role: string): Record<string, unknown> {
  const [container] = containersOf(workload(manifests, role));
  return Object.fromEntries(
    listAt(container, 'env').map((one) => [at(one, 'name'), at(one, 'value') ?? at(one, 'valueFrom')]),
  );
}

/** Sets a value by its path, such as `image.tag`. */
function put(values: Record<string, unknown>, path: string, value: unknown): void {
  const names = path.split('.');
  const last = String(names.pop());
  let place = values;
  for (const name of names) place = (place[name] ??= {}) as Record<string, unknown>;
  place[last] = value;
}

describe('values', () => {
  it('that are missing are told all at once, with what they are for', async () => {
    const { code, stderr } = await helm(['template', 'byoc', CHART, '--namespace', 'byoc']);
    expect(code).not.toBe(0);
    for (const name of [
      'clusterId',
      'temporal.address',
      'temporal.namespace',
      'agent.tls.existingSecret',
      'vault.address',
      'networkPolicy.kubernetesApi.cidrs',
    ]) {
      expect(stderr).toContain(`- ${name}`);
    }
    expect(stderr).toContain('byoc-connector-execution.byoc.svc');
  });

  it('that are misspelt are refused, in each group that there is', async () => {
    const groups = new Set((await readValues()).map(({ path }) => path.split('.').slice(0, -1).join('.')));
    for (const more of ['policy.document', 'policy.document.approvals', 'execution.resources']) groups.add(more);
    const values: Record<string, unknown> = {};
    for (const group of groups) put(values, group === '' ? 'mispelt' : `${group}.mispelt`, 1);
    const told = await refusal('minimal', values);
    for (const group of groups) {
      const path = group === '' ? '' : `/${group.replaceAll('.', '/')}`;
      expect(told).toContain(`at '${path}': additional properties 'mispelt' not allowed`);
    }
  });

  it.each([
    [{ clusterId: 'Prod_EU' }, "at '/clusterId'"],
    [{ image: { digest: 'sha256:short' } }, "at '/image/digest'"],
    [{ execution: { kind: 'Deployment' } }, "at '/execution/kind'"],
    [{ terminationGracePeriodSeconds: 10 }, "at '/terminationGracePeriodSeconds'"],
    [{ podSecurityContext: { runAsUser: 0 } }, "at '/podSecurityContext/runAsUser'"],
    [{ temporal: { apiKey: { existingSecret: 'x' } } }, 'two ways to log in'],
    [{ vault: { ca: { existingSecret: 'one', existingConfigMap: 'other' } } }, 'names a Secret and a ConfigMap'],
    [{ vault: { address: '' }, cosign: { existingSecret: 'x' } }, 'temporal.payloadCodec is vault'],
    [{ prometheus: { url: 'https://p', auth: 'token' } }, 'prometheus.existingSecret'],
    [{ prometheus: { url: 'https://p' } }, 'insight.url'],
    [{ controlPlane: { url: 'https://c' } }, 'registration.vault.roleId'],
    [{ s3: { bucket: 'b' } }, 'networkPolicy.s3.cidrs'],
    [{ stateNamespace: 'byoc' }, 'install it into another one'],
    [{ codecServer: { enabled: true } }, 'codecServer.origins'],
    [{ codecServer: { enabled: true } }, 'codecServer.vault.roleId'],
    [
      { networkPolicy: { vault: { cidrs: ['169.254.169.254/32'] } } },
      'networkPolicy.vault: 169.254.169.254/32 lies in 169.254.0.0/16',
    ],
    [{ networkPolicy: { vault: { cidrs: ['169.254.0.0/16'] } } }, 'lies in 169.254.0.0/16, which is denied'],
    [{ networkPolicy: { vault: { cidrs: ['FD00:EC2:0:0::254/128'] } } }, 'lies in fd00:ec2::254/128, which is denied'],
    [{ networkPolicy: { vault: { cidrs: ['fe80::1/128'] } } }, 'lies in fe80::/10, which is denied'],
    [{ networkPolicy: { vault: { cidrs: ['10.0.0.1'] } } }, "at '/networkPolicy/vault/cidrs/0'"],
    [
      { networkPolicy: { vault: { selectors: [{ ipBlock: { cidr: '169.254.169.254/32' } }] } } },
      "'ipBlock' not allowed",
    ],
    [{ networkPolicy: { vault: { ports: ['https'] } } }, "at '/networkPolicy/vault/ports/0'"],
    [{ vault: { address: 'http://vault' } }, "at '/vault/address'"],
    [{ temporal: { address: 'temporal.example.com' } }, "at '/temporal/address'"],
    [{ agent: { tls: { existingSecret: 'a\nb: c' } } }, "at '/agent/tls/existingSecret'"],
    [{ agent: { clients: { existingSecret: 'x' } } }, 'agent.clients.names'],
    [{ agent: { clients: { existingSecret: 'x', names: ['DNS:a,DNS:b'] } } }, "at '/agent/clients/names/0'"],
    [{ agent: { jwt: { issuer: 'https://i' } } }, 'agent.jwt.keysUrl'],
    [{ prometheus: { existingSecret: 'x' } }, 'prometheus.auth'],
    [{ s3: { bucket: 'b', kmsKeyId: 'k' } }, 's3.encryption'],
    [{ serviceMonitor: { enabled: true }, agent: { tls: { caKey: '' } } }, 'agent.tls.caKey'],
    [{ namespaces: ['Shop'] }, "at '/namespaces/0'"],
    [{ namespaces: ['shop', 'shop'] }, "at '/namespaces'"],
    [{ stateNamespace: 'kube-system' }, 'a namespace of Kubernetes itself'],
    [{ commonLabels: { cost: 4711 } }, "at '/commonLabels/cost': got number, want string"],
    [{ commonLabels: { 'app.kubernetes.io/name': 'mine' } }, "invalid propertyName 'app.kubernetes.io/name'"],
    [{ clusterLabels: { team: 'a=b,c=d' } }, "at '/clusterLabels/team'"],
    [{ execution: { podAnnotations: { 'checksum/policy': 'x' } } }, "invalid propertyName 'checksum/policy'"],
    [{ execution: { extraEnv: [{ name: 'A', value: 1 }] } }, "at '/execution/extraEnv/0/value'"],
    [{ execution: { extraEnv: [{ name: 'A' }, { name: 'A' }] } }, 'holds a variable twice'],
    [{ podDisruptionBudget: { maxUnavailable: 0 } }, "at '/podDisruptionBudget/maxUnavailable'"],
    [{ topologySpreadConstraints: [{ labelSelector: {} }] }, "at '/topologySpreadConstraints/0'"],
  ])('%j are refused, and the message says why', async (values, why) => {
    expect(await refusal('minimal', values)).toContain(why);
  });
});

describe('null', () => {
  it('is refused for whatever value, because Helm drops a value with its default by it', async () => {
    const paths = (await readValues()).map(({ path }) => path);
    const mayBe = ['podSecurityContext.runAsUser', 'podSecurityContext.runAsGroup']; // OpenShift chooses them
    const values: Record<string, unknown> = {};
    for (const path of paths.filter((one) => !mayBe.includes(one))) put(values, path, null);
    const told = await refusal('minimal', values);
    for (const path of paths) {
      const last = String(path.split('.').pop());
      const group = path
        .split('.')
        .slice(0, -1)
        .map((name) => `/${name}`)
        .join('');
      const [, missing = ''] = new RegExp(`at '${group}': missing propert(?:y|ies) (.*)`).exec(told) ?? [];
      expect({ path, isMissed: missing.includes(`'${last}'`) }).toEqual({ path, isMissed: !mayBe.includes(path) });
    }
  });
});

describe('text that YAML would take for something else', () => {
  it('stays text', async () => {
    const values = {
      namespaces: ['0124'],
      stateNamespace: '1e3',
      agent: { tls: { existingSecret: 'yes' } },
      execution: { kind: 'StatefulSet', persistence: { storageClassName: 'true' }, vault: { existingSecret: '0x1f' } },
      image: { tag: '1.10' },
      priorityClassName: 'null',
      commonLabels: { quoted: `it's "so"`, number: '4711' },
    };
    const manifests = await render('minimal', values, { namespace: '123' });
    for (const { kind, metadata } of manifests) {
      expect(metadata.labels).toMatchObject(values.commonLabels);
      expect({ kind, is: typeof metadata.namespace }).toEqual({
        kind,
        is: kind === 'Namespace' ? 'undefined' : 'string',
      });
    }
    const execution = workload(manifests, 'execution');
    const secrets = listAt(execution, 'spec', 'template', 'spec', 'volumes').map((one) =>
      at(one, 'secret', 'secretName'),
    );
    expect(secrets).toEqual(expect.arrayContaining(['yes', '0x1f']));
    expect(at(execution, 'spec', 'template', 'spec', 'priorityClassName')).toBe('null');
    expect(at(listAt(execution, 'spec', 'volumeClaimTemplates')[0], 'spec', 'storageClassName')).toBe('true');
    expect(envOf(manifests, 'execution')).toMatchObject({ BYOC_STATE_NAMESPACE: '1e3', BYOC_HEADS_NAMESPACE: '123' });
    expect(String(at(containersOf(execution)[0], 'image'))).toMatch(/:1\.10$/);
  });
});

describe('releases', () => {
  it('have names that Kubernetes takes, or are refused', async () => {
    const longest = 'connector-of-a-very-long-name-that-nobody-would-ever'; // 53 characters are Helm's limit
    for (const { kind, metadata } of await render('full', {}, { release: longest })) {
      expect({ kind, name: metadata.name, fits: metadata.name.length <= 63 }).toMatchObject({ fits: true });
    }
    for (const release of ['123', 'a.b']) {
      await expect(render('minimal', {}, { release })).rejects.toThrow('set fullnameOverride');
      await expect(render('minimal', { fullnameOverride: 'fine' }, { release })).resolves.toBeDefined();
    }
    await expect(render('minimal', {}, { namespace: 'kube-system' })).rejects.toThrow(
      'a namespace of Kubernetes itself',
    );
  });

  it('are beside each other in a cluster, where each has a name and a state of its own', async () => {
    const key = ({ kind, metadata }: Manifest) => `${kind} ${metadata.namespace ?? ''} ${metadata.name}`;
    const one = (await render('full')).map(key);
    const other = await render('full', { stateNamespace: 'other-system' }, { release: 'other', namespace: 'other' });
    expect(other.map(key).filter((object) => one.includes(object))).toEqual([]);
  });

  it('are made alike each time', async () => {
    expect(await render('full')).toEqual(await render('full'));
  });
});

describe.each(VALUES)('with the %s values', (name) => {
  it('each pod runs on Linux, as nobody, and can get no more', async () => {
    for (const one of (await render(name)).filter(
      (manifest) => at(manifest, 'spec', 'template', 'spec') !== undefined,
    )) {
      const pod = at(one, 'spec', 'template', 'spec');
      expect(at(pod, 'nodeSelector', 'kubernetes.io/os')).toBe('linux');
      expect(at(pod, 'securityContext')).toMatchObject({
        runAsNonRoot: true,
        seccompProfile: { type: 'RuntimeDefault' },
      });
      for (const container of listAt(pod, 'containers')) {
        expect(at(container, 'securityContext')).toEqual({
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ['ALL'] },
        });
      }
    }
  });

  it('no Secret is made, and none is in an environment but by its name', async () => {
    const manifests = await render(name);
    expect(manifests.filter(({ kind }) => kind === 'Secret')).toEqual([]);
    for (const one of workloads(manifests)) {
      const secret = listAt(containersOf(one)[0], 'env').filter((env) =>
        /KEY$|TOKEN|PASSWORD|SECRET(_ID(_FILE)?)?$/.test(String(at(env, 'name'))),
      );
      for (const env of secret) {
        const value = at(env, 'value');
        expect({ env, ok: value === undefined || String(value).startsWith('/etc/byoc/') }).toEqual({ env, ok: true });
      }
    }
  });

  it('everything has the common labels and names of the release', async () => {
    for (const { kind, metadata } of await render(name)) {
      expect(metadata.labels).toMatchObject({
        'app.kubernetes.io/name': 'connector',
        'app.kubernetes.io/instance': 'byoc',
        'app.kubernetes.io/version': '0.1.0',
        'app.kubernetes.io/managed-by': 'Helm',
        'helm.sh/chart': 'connector-0.1.0',
      });
      if (kind !== 'Namespace') expect(metadata.name).toMatch(/^byoc-connector/);
    }
  });

  it('pods have time to drain, and their probes go by TLS to 8005, which is all that listens', async () => {
    const workers = workloads(await render(name)).filter(({ metadata }) => !metadata.name.endsWith('codec-server'));
    for (const one of workers) {
      expect(at(one, 'spec', 'template', 'spec', 'terminationGracePeriodSeconds')).toBeGreaterThan(20 + 10); // drain, then upload
      const [container, ...others] = containersOf(one);
      expect(others).toEqual([]);
      expect(listAt(container, 'ports')).toEqual([{ name: 'agent', containerPort: 8005, protocol: 'TCP' }]);
      for (const [probe, path] of [
        ['livenessProbe', '/health/live'],
        ['readinessProbe', '/health/ready'],
        ['startupProbe', '/health/live'],
      ]) {
        expect(at(container, String(probe), 'httpGet')).toEqual({ path, port: 'agent', scheme: 'HTTPS' });
      }
    }
  });
});

describe('roles', () => {
  it('hand alerts on where there is a control plane to send them to', async () => {
    expect(envOf(await render('minimal'), 'execution')).toMatchObject({ BYOC_ALERT_RELAY: 'off' });
    expect(envOf(await render('full'), 'execution')).not.toHaveProperty('BYOC_ALERT_RELAY');
  });

  it('get their own logins and what they need, and nothing of the others', async () => {
    const manifests = await render('full');
    const logins = ROLES.map((role) => envOf(manifests, role)['VAULT_ROLE_ID']);
    expect(new Set(logins).size).toBe(3);
    for (const role of ROLES) {
      const names = Object.keys(envOf(manifests, role));
      expect({ role, isExecution: names.includes('BYOC_APPLY_SERVICE_ACCOUNT') }).toEqual({
        role,
        isExecution: role === 'execution',
      });
      expect({ role, has: names.includes('BYOC_PAYLOAD_CODEC') }).toEqual({ role, has: role === 'execution' });
      expect({ role, has: names.includes('CONTROL_PLANE_URL') }).toEqual({ role, has: role === 'registration' });
      expect({ role, has: names.includes('PROM_PASSWORD') }).toEqual({ role, has: role === 'metrics' });
      const secrets = listAt(workload(manifests, role), 'spec', 'template', 'spec', 'volumes').map((volume) =>
        at(volume, 'secret', 'secretName'),
      );
      expect(secrets).toContain(`byoc-vault-${role}`);
      for (const other of ROLES.filter((one) => one !== role)) expect(secrets).not.toContain(`byoc-vault-${other}`);
      expect(at(workload(manifests, role), 'spec', 'template', 'spec', 'serviceAccountName')).toBe(
        `byoc-connector-${role}`,
      );
      expect(listAt(containersOf(workload(manifests, role))[0], 'args')).toEqual(['--role', role]);
    }
  });

  it('that have nobody to talk to have no pod', async () => {
    expect(workloads(await render('minimal')).map(({ kind, metadata }) => [kind, metadata.name])).toEqual([
      ['DaemonSet', 'byoc-connector-execution'],
    ]);
  });

  it('have one pod each but execution, whose pods are a DaemonSet or a StatefulSet with volumes', async () => {
    const full = workloads(await render('full')).map(({ kind, metadata, spec }) => [
      kind,
      metadata.name,
      at(spec, 'replicas'),
    ]);
    expect(full.sort()).toEqual([
      ['Deployment', 'byoc-connector-codec-server', 1],
      ['Deployment', 'byoc-connector-metrics', 1],
      ['Deployment', 'byoc-connector-registration', 1],
      ['StatefulSet', 'byoc-connector-execution', 3],
    ]);
    const daemon = workload(await render('minimal'), 'execution');
    const data = listAt(daemon, 'spec', 'template', 'spec', 'volumes').find((volume) => at(volume, 'name') === 'data');
    expect(at(data, 'emptyDir')).toBeDefined();
    expect(listAt(workload(await render('full'), 'execution'), 'spec', 'volumeClaimTemplates')).toHaveLength(1);
  });
});

describe('the runtime', () => {
  it.each(ROLES)('of %s is set as its memory was measured', async (role) => {
    expect(envOf(await render('full'), role)).toMatchObject(RUNTIME[role]);
  });

  it('may be set otherwise', async () => {
    const extraEnv = [{ name: 'NODE_OPTIONS', value: '--max-semi-space-size=8' }];
    const [container] = containersOf(workload(await render('minimal', { execution: { extraEnv } }), 'execution'));
    const set = listAt(container, 'env').filter((one) => at(one, 'name') === 'NODE_OPTIONS');
    expect(set).toEqual(extraEnv);
  });
});

describe('a drain', () => {
  it('is told how many pods of a role may be away, but for a DaemonSet, which the API server cannot count', async () => {
    const budgets = (manifests: readonly Manifest[]) =>
      manifests.flatMap(({ kind, metadata }) => (kind === 'PodDisruptionBudget' ? [metadata.name] : [])).sort();
    expect(budgets(await render('full'))).toEqual([...ROLES].sort().map((role) => `byoc-connector-${role}`));
    expect(budgets(await render('minimal'))).toEqual([]);
  });
});

describe('what keeps a worker safe', () => {
  const GUARDS = { NODE_ENV: 'production', SIMULATION: 'false', TEMPORAL_TLS: 'true' };

  it('is set in every worker', async () => {
    const manifests = await render('full');
    for (const role of ROLES) expect(envOf(manifests, role)).toMatchObject(GUARDS);
  });

  it.each([...Object.keys(GUARDS), 'BYOC_SIMULATION_ALLOWED', 'BYOC_AGENT_TLS_CERT', 'BYOC_POLICY'])(
    'cannot be set otherwise: %s in extraEnv is refused, of every role',
    async (name) => {
      for (const role of ROLES) {
        const told = await refusal('full', { [role]: { extraEnv: [{ name, value: 'other' }] } });
        expect(told).toContain(`${role}.extraEnv must not hold ${name}`);
      }
    },
  );

  it.each(['NODE_TLS_REJECT_UNAUTHORIZED', 'VAULT_SKIP_VERIFY', 'TEMPORAL_TLS_DISABLE_HOST_VERIFICATION'])(
    'checks certificates: %s is refused before any pod is made that would not start with it',
    async (name) => {
      const told = await refusal('minimal', { execution: { extraEnv: [{ name, value: '0' }] } });
      expect(told).toContain(`execution.extraEnv must not hold ${name}`);
    },
  );

  it('is no simulation, and no value turns one on', async () => {
    expect((await readValues()).filter(({ path }) => /simulat/i.test(path))).toEqual([]);
  });
});

describe('pods', () => {
  const podOf = async (values: unknown) =>
    at(workload(await render('minimal', values), 'execution'), 'spec', 'template', 'spec');

  it('of a StatefulSet are spread by their own labels; a DaemonSet has one on each node in any case', async () => {
    expect(at(await podOf({}), 'topologySpreadConstraints')).toBeUndefined();
    const spread = listAt(await podOf({ execution: { kind: 'StatefulSet' } }), 'topologySpreadConstraints');
    expect(spread.map((one) => at(one, 'topologyKey'))).toEqual([
      'topology.kubernetes.io/zone',
      'kubernetes.io/hostname',
    ]);
    for (const one of spread) {
      expect(at(one, 'labelSelector', 'matchLabels')).toEqual({
        'app.kubernetes.io/name': 'connector',
        'app.kubernetes.io/instance': 'byoc',
        'app.kubernetes.io/component': 'execution',
      });
    }
  });

  it('of a DaemonSet are replaced one at a time, or as many as a value says', async () => {
    const rolling = async (values: unknown) =>
      at(workload(await render('minimal', values), 'execution'), 'spec', 'updateStrategy', 'rollingUpdate');
    expect(await rolling({})).toEqual({ maxUnavailable: 1 });
    expect(await rolling({ execution: { maxUnavailable: '10%' } })).toEqual({ maxUnavailable: '10%' });
  });
});

describe('rules for the whole cluster', () => {
  it.each([
    ['*/token', 'create', 'stands for others'],
    ['*/scale', 'patch', 'stands for others'],
    ['namespaces', 'delete', 'must not delete namespaces'],
    ['mutatingadmissionpolicies', 'create', 'must not hold mutatingadmissionpolicies'],
    ['persistentvolumeclaims', 'delete', 'must not delete persistentvolumeclaims'],
    // Of them the StatefulSet's controller makes pods while an upgrade is under way.
    ['controllerrevisions', 'create', 'must not create controllerrevisions'],
    ['users', 'impersonate:user-info', 'must not hold the verb'],
  ])('cannot reach the connector: %s with %s is refused', async (resource, verb, why) => {
    const rule = { apiGroups: ['*'], resources: [resource], verbs: ['get', verb] };
    expect(await refusal('minimal', { rbac: { clusterScope: true }, apply: { clusterRules: [rule] } })).toContain(why);
  });

  it('may delete namespaces that are named, if they are not those of the connector', async () => {
    const told = (resourceNames: string[]) => {
      const rule = { apiGroups: [''], resources: ['namespaces'], resourceNames, verbs: ['delete'] };
      return refusal('minimal', { rbac: { clusterScope: true }, apply: { clusterRules: [rule] } });
    };
    expect(await told(['shop'])).toBe('taken');
    expect(await told(['shop', 'byoc-system'])).toContain('must not delete namespaces');
  });
});

describe('helm test', () => {
  it('says of each role what it answered, or why there was no answer', async () => {
    const job = (await render('full')).find(({ kind }) => kind === 'Job');
    const [container] = listAt(job, 'spec', 'template', 'spec', 'containers');
    const [, ...options] = listAt(container, 'command').map(String);
    const { code, stdout, stderr } = await runTool(process.execPath, [
      ...options,
      ...listAt(container, 'args').map(String),
    ]);
    expect({ code, stderr }).toEqual({ code: 1, stderr: '' });
    expect(stdout.trim().split('\n')).toEqual(
      ROLES.map((role) => expect.stringMatching(`^byoc-connector-${role}\\.byoc\\.svc gave no answer: getaddrinfo`)),
    );
  });
});

describe('NOTES', () => {
  const notes = async (values: unknown) => {
    const args = [
      'install',
      'byoc',
      CHART,
      '--namespace',
      'byoc',
      '--dry-run=client',
      '--values',
      valuesFile('minimal'),
    ];
    const { stdout } = await helm(args, { values });
    return stdout.slice(stdout.indexOf('NOTES:'));
  };

  it('name the next steps that there are', async () => {
    expect(await notes({})).toContain('helm -n byoc test byoc');
    expect(await notes({ tests: { enabled: false } })).not.toContain('helm -n byoc test');
  });

  it('tell that Temporal knows nobody by a login', async () => {
    expect(await notes({})).not.toContain('shows Temporal no login');
    expect(await notes({ temporal: { tls: { existingSecret: '' } } })).toContain('shows Temporal no login');
  });

  it('tell of a port that the network policy keeps shut', async () => {
    expect(await notes({})).not.toContain('.ports has no');
    const told = await notes({ vault: { address: 'https://vault.example.com' }, temporal: { address: 't:443' } });
    expect(told).toContain('networkPolicy.vault.ports has no 443');
    expect(told).toContain('networkPolicy.temporal.ports has no 443');
  });
});

describe('the policy', () => {
  it('protects the namespaces of the connector whatever list it has', async () => {
    for (const protectedNamespaces of [[], ['payments', 'byoc']]) {
      const map = (await render('minimal', { policy: { document: { protectedNamespaces } } })).find(
        ({ metadata }) => metadata.name === 'byoc-connector-policy',
      );
      const policy = parse(String(at(map, 'data', 'policy.yaml'))) as { protectedNamespaces: string[] };
      expect(policy.protectedNamespaces.sort()).toEqual(
        [...new Set(['byoc', 'byoc-system', ...protectedNamespaces])].sort(),
      );
    }
  });

  const policyOf = async (values: unknown) => {
    const map = (await render('minimal', values)).find(({ metadata }) => metadata.name === 'byoc-connector-policy');
    return String(at(map, 'data', 'policy.yaml'));
  };

  it('counts signed votes only, and protects the namespaces of the connector', async () => {
    const policy = await policyOf({});
    expect(policy).toContain('acceptAsserted: false');
    for (const own of ['byoc', 'byoc-system', 'kube-system']) expect(policy).toContain(`- ${own}\n`);
  });

  it('makes other pods when it changes, and only then', async () => {
    const checksum = async (values: unknown) =>
      at(
        workload(await render('minimal', values), 'execution'),
        'spec',
        'template',
        'metadata',
        'annotations',
        'checksum/policy',
      );
    const before = await checksum({});
    expect(await checksum({ logLevel: 'debug' })).toBe(before);
    expect(await checksum({ policy: { document: { allow: { namespaces: [] } } } })).not.toBe(before);
  });
});

describe('network policies', () => {
  /** Who is reached on which port: what a rule says, without what stands for it in the cluster. */
  const egressOf = async (role: string) => {
    const found = (await render('full')).find(
      (one) => one.kind === 'NetworkPolicy' && one.metadata.name === `byoc-connector-${role}`,
    );
    return listAt(found, 'spec', 'egress').map((rule) => {
      const to = listAt(rule, 'to').map(
        (peer) =>
          at(peer, 'ipBlock', 'cidr') ?? Object.values(at(peer, 'namespaceSelector', 'matchLabels') as object)[0],
      );
      const ports = listAt(rule, 'ports').map((port) => `${String(at(port, 'port'))}/${String(at(port, 'protocol'))}`);
      return `${to.join(' ')} ${ports.join(' ')}`;
    });
  };
  const COMMON = [
    'kube-system 53/TCP 53/UDP',
    'egress 443/TCP', // Temporal has no address here: it is reached through the gateway
    '10.0.0.1/32 10.0.0.2/32 6443/TCP',
    'vault 8200/TCP',
    '0.0.0.0/0 ::/0 443/TCP', // S3
  ];

  it.each([
    ['execution', [...COMMON, 'egress 443/TCP']], // keys of callers
    ['registration', [...COMMON, 'egress 443/TCP']], // the control plane
    ['metrics', [...COMMON, 'monitoring 9090/TCP', 'egress 443/TCP']], // Prometheus, the Insight Engine
  ])('let %s out to exactly what it needs', async (role, expected) => {
    expect(await egressOf(role)).toEqual(expected);
  });

  it('let the codec server ask nobody but Temporal, Vault and the keys of its readers', async () => {
    expect(await egressOf('codec-server')).toEqual([...COMMON.slice(0, 2), 'vault 8200/TCP', 'egress 443/TCP']);
  });

  it('let nothing in but 8005, and deny the rest to every pod of the release', async () => {
    const policies = (await render('full')).filter(({ kind }) => kind === 'NetworkPolicy');
    const all = policies.find(({ metadata }) => metadata.name === 'byoc-connector-default-deny');
    expect(all?.['spec']).toEqual({
      podSelector: { matchLabels: { 'app.kubernetes.io/name': 'connector', 'app.kubernetes.io/instance': 'byoc' } },
      policyTypes: ['Ingress', 'Egress'],
    });
    const ports = policies.flatMap((policy) =>
      listAt(policy, 'spec', 'ingress').flatMap((rule) => listAt(rule, 'ports')),
    );
    expect(ports.map((port) => at(port, 'port')).sort()).toEqual([...ROLES.map(() => 8005), 8006]); // 8006: the codec server
    for (const policy of policies) expect(listAt(policy, 'spec', 'policyTypes')).toEqual(['Ingress', 'Egress']);
  });

  it('reach no metadata service, whatever ranges are allowed', async () => {
    const wide = [
      '0.0.0.0/0',
      '128.0.0.0/1',
      '169.0.0.0/8',
      '169.254.0.0/15',
      '10.0.0.0/8',
      '::/0',
      '2000::/3',
      '2001:db8::/32',
      ...['8000::/1', 'c000::/2', 'fc00::/7', 'fd00:ec2::/32', 'FE00::/9', '0:0:0:0:0:0:0:0/0', '0::/1'],
      ...['100.64.0.0/10', '100.100.100.200/31', '168.0.0.0/6'],
    ];
    const destinations = ['kubernetesApi', 'temporal', 'vault'];
    const networkPolicy = Object.fromEntries(destinations.map((name) => [name, { cidrs: wide }]));
    const policies = (await render('minimal', { networkPolicy })).filter(({ kind }) => kind === 'NetworkPolicy');
    const blocks = policies.flatMap((policy) =>
      listAt(policy, 'spec', 'egress').flatMap((rule) => listAt(rule, 'to').map((peer) => at(peer, 'ipBlock'))),
    );
    const ranges = blocks.filter((block) => block !== undefined);
    expect(ranges).toHaveLength(destinations.length * wide.length);
    const reached = (address: string) => ranges.filter((block) => allows(block, address)).length;
    for (const address of [
      '169.254.169.254',
      '169.254.170.2',
      '169.254.0.1',
      '169.254.255.255',
      'fe80::a9fe:a9fe',
      'fd00:ec2::254',
      'fd20:ce::254',
      '100.100.100.200',
    ]) {
      expect({ address, by: reached(address) }).toEqual({ address, by: 0 });
    }
    for (const address of [
      '192.0.2.1',
      '169.255.0.1',
      '169.253.255.255',
      '100.100.100.201',
      '2001:db8::1',
      'fd00:ec2::253',
    ])
      expect(reached(address)).toBeGreaterThan(0);
  });

  function allows(block: unknown, address: string): boolean {
    const matches = (cidr: unknown) => {
      const [network = '', prefix] = String(cidr).split('/');
      const list = new BlockList();
      list.addSubnet(network, Number(prefix), isIPv6(network) ? 'ipv6' : 'ipv4');
      return isIPv6(network) === isIPv6(address) && list.check(address, isIPv6(address) ? 'ipv6' : 'ipv4');
    };
    return matches(at(block, 'cidr')) && !listAt(block, 'except').some(matches);
  }
});
