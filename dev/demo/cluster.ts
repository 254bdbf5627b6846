import { homedir } from 'node:os';
import { join } from 'node:path';
import { FIELD_MANAGER, STATE_NAMESPACE } from '../../domain/names.ts';
import { run } from '../process.ts';
import type { KubernetesService } from '../servers/kubernetes.ts';

/** The cluster that the demo changes. */
export interface DemoCluster {
  readonly kubeconfig: string;
  readonly context: string;
  readonly namespace: string;
  /** Puts the application of a manifest file there, as an earlier package would have left it, and waits for it. */
  install(file: string, tell: (what: string) => void): Promise<void>;
  /** The application as it is, with the command that shows it. */
  look(): Promise<{ readonly command?: string; readonly lines: readonly string[] }>;
  /** Removes what the demo made. */
  clean(): Promise<void>;
}

/** The embedded cluster goes away with its stack, so nothing needs cleaning there. */
export function embeddedCluster(
  { kubeconfig, context, kubectl }: KubernetesService,
  signal: AbortSignal,
  namespace = 'shop',
): DemoCluster {
  return clusterOf({ kubectl, kubeconfig, context, namespace, signal, clean: async () => undefined });
}

/** The user's own cluster: in a namespace that is made for the demo and removed after it. */
export async function ownCluster(options: {
  readonly kubectl: string;
  readonly context: string;
  readonly env: NodeJS.ProcessEnv;
  readonly signal: AbortSignal;
}): Promise<DemoCluster> {
  const { kubectl, context, env, signal } = options;
  const kubeconfig = env['KUBECONFIG'] ?? join(homedir(), '.kube', 'config');
  const namespace = `byoc-demo-${Date.now().toString(36)}`;
  const ask = (...args: readonly string[]) => kubectlRun(kubectl, kubeconfig, context, args);
  const hadState = (await ask('get', 'namespace', STATE_NAMESPACE, '--ignore-not-found', '-o', 'name')) !== '';
  const clean = async () => {
    const made = hadState ? [namespace] : [namespace, STATE_NAMESPACE];
    await ask('delete', 'namespace', ...made, '--ignore-not-found', '--timeout=60s');
  };
  return clusterOf({ kubectl, kubeconfig, context, namespace, signal, clean });
}

interface ClusterParts {
  readonly kubectl: string;
  readonly kubeconfig: string;
  readonly context: string;
  readonly namespace: string;
  readonly signal: AbortSignal;
  readonly clean: () => Promise<void>;
}

function clusterOf({ kubectl, kubeconfig, context, namespace, signal, clean }: ClusterParts): DemoCluster {
  const ask = (...args: readonly string[]) => kubectlRun(kubectl, kubeconfig, context, args, signal);
  return {
    kubeconfig,
    context,
    namespace,
    async install(file, tell) {
      const there = await ask('get', 'namespace', namespace, '--ignore-not-found', '-o', 'name');
      if (!there) await ask('create', 'namespace', namespace);
      // The connector owns what it set.
      const asConnector = ['--server-side', `--field-manager=${FIELD_MANAGER}`];
      await ask('apply', '-n', namespace, ...asConnector, '-f', file);
      tell('waiting for its pods');
      await ask('rollout', 'status', '-n', namespace, 'deployment/checkout', '--timeout=60s');
    },
    async look() {
      const args = ['get', 'deployment,service,configmap,hpa,pdb', '-n', namespace, '-l', 'app=checkout'];
      return { command: ['kubectl', ...args].join(' '), lines: (await ask(...args)).split('\n') };
    },
    clean,
  };
}

/** Credential plugins of a user's kubeconfig need the user's environment. */
async function kubectlRun(
  command: string,
  kubeconfig: string,
  context: string,
  args: readonly string[],
  signal?: AbortSignal,
): Promise<string> {
  const env = { ...process.env, KUBECONFIG: kubeconfig };
  return (await run(command, ['--context', context, ...args], { env, signal })).trimEnd();
}
