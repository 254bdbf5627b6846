import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import type { KubeConfig } from '@kubernetes/client-node';
import { ConnectorError } from '../../domain/errors.ts';
import { whyUnreadable } from '../../domain/why-unreadable.ts';
import type { KubeAccess } from './credentials.ts';
import { podAccess } from './pod-access.ts';

/**
 * Finds the kubeconfig as kubectl does, with the context that is meant; inside a pod, and without a kubeconfig, the account
 * of the pod. Where it is one file that holds its credentials itself, it is read here: the client library takes longer to
 * load than freezing a cluster may take, and more memory than all else in a process that only beats. Whatever is not
 * plainly that, such as a plugin that is asked for a token, is the library's.
 * @throws {ConnectorError} CONFIG_INVALID for a kubeconfig that is not there or broken, and for a context that is not in it
 */
export async function kubeConfigOf(context: string | undefined, env: NodeJS.ProcessEnv): Promise<KubeAccess> {
  const plain = await plainAccess(context, env['KUBECONFIG'] || HOME_CONFIG);
  if (plain) return plain;
  const ofPod = env['KUBECONFIG'] || context || existsSync(HOME_CONFIG) ? undefined : podAccess(env);
  if (ofPod) return ofPod;
  const { KubeConfig } = await import('@kubernetes/client-node');
  const config = new KubeConfig();
  const named = env['KUBECONFIG'];
  try {
    config.loadFromDefault();
  } catch (cause) {
    throw unusable(named, cause);
  }
  // What the library makes up where it finds nothing.
  if (!named && config.getCurrentCluster()?.server === 'http://localhost:8080') {
    throw new ConnectorError('CONFIG_INVALID', `KUBECONFIG is not set, and there is no ${HOME_CONFIG}.`);
  }
  if (context) config.setCurrentContext(context);
  assertContext(config, named || HOME_CONFIG);
  return config;
}

const HOME_CONFIG = join(homedir(), '.kube', 'config');

/** Of what the parser says only where it stumbled: below that it quotes the file, which holds secrets. */
function unusable(named: string | undefined, cause: unknown): ConnectorError {
  const { syscall, path = named || HOME_CONFIG, message } = cause as NodeJS.ErrnoException; // Node's or the parser's
  const [, place] = /\((\d+:\d+)\)/.exec(message) ?? [];
  const why = syscall ? whyUnreadable(cause) : place ? `it is no YAML, at ${place}` : 'it is no kubeconfig';
  const subject = named ? `KUBECONFIG names ${path}` : `The kubeconfig is ${path}`;
  return new ConnectorError('CONFIG_INVALID', `${subject}: ${why}.`, { cause });
}

function assertContext(config: KubeConfig, path: string): void {
  const wanted = config.getCurrentContext();
  if (config.getContextObject(wanted)) return;
  const names = config.getContexts().map(({ name }) => name);
  const missing = wanted ? `There is no context "${wanted}" in ${path}` : `${path} has no current context`;
  throw new ConnectorError('CONFIG_INVALID', `${missing}; there is: ${names.join(', ') || 'none'}.`);
}

const text = z.string().min(1);
const contextSchema = z.object({ cluster: text, user: text });
/** A field that is not here means that there is more to it than is known here. */
const clusterSchema = z.strictObject({
  server: z.url({ protocol: /^https$/ }),
  'certificate-authority': text.optional(),
  'certificate-authority-data': text.optional(),
  'tls-server-name': text.optional(),
  /** Notes of other programs. */
  extensions: z.unknown().optional(),
});
const userSchema = z.strictObject({
  token: text.optional(),
  'client-certificate': text.optional(),
  'client-certificate-data': text.optional(),
  'client-key': text.optional(),
  'client-key-data': text.optional(),
});
/** Entries that are not asked for may be anything. */
const fileSchema = z.object({
  'current-context': text.optional(),
  contexts: z.array(z.object({ name: text, context: z.unknown() })),
  clusters: z.array(z.object({ name: text, cluster: z.unknown() })),
  users: z.array(z.object({ name: text, user: z.unknown() })),
});

async function plainAccess(context: string | undefined, path: string): Promise<KubeAccess | undefined> {
  if (path.includes(delimiter)) return undefined;
  const file = fileSchema.safeParse(await readYaml(path)).data;
  const wanted = context ?? file?.['current-context'];
  const pair = contextSchema.safeParse(file?.contexts.find(({ name }) => name === wanted)?.context).data;
  const cluster = clusterSchema.safeParse(file?.clusters.find(({ name }) => name === pair?.cluster)?.cluster).data;
  const user = userSchema.safeParse(file?.users.find(({ name }) => name === pair?.user)?.user).data;
  if (!pair || !cluster || !user) return undefined;

  const folder = dirname(path);
  const pem = async (data: string | undefined, name: string | undefined) => {
    if (data !== undefined) return Buffer.from(data, 'base64');
    return name === undefined ? undefined : readFile(resolve(folder, name));
  };
  return {
    getCurrentCluster: () => ({ name: pair.cluster, server: cluster.server, skipTLSVerify: false }),
    async applyToHTTPSOptions(options) {
      const [ca, cert, key] = await Promise.all([
        pem(cluster['certificate-authority-data'], cluster['certificate-authority']),
        pem(user['client-certificate-data'], user['client-certificate']),
        pem(user['client-key-data'], user['client-key']),
      ]);
      const servername = cluster['tls-server-name'];
      Object.assign(options, { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) });
      if (servername) Object.assign(options, { servername });
      if (user.token) options.headers = { ...options.headers, Authorization: `Bearer ${user.token}` };
    },
  };
}

/** Undefined for what cannot be read: the library says what is wrong with it. */
async function readYaml(path: string): Promise<unknown> {
  try {
    return parse(await readFile(path, 'utf8'));
  } catch {
    return undefined;
  }
}
