import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import type { KubeAccess } from '../../activities/kubernetes/credentials.ts';

/**
 * Finds the kubeconfig as kubectl does, with the context that is meant. Where it is one file that holds its credentials
 * itself, it is read here: the client library takes longer to load than freezing a cluster may take. Whatever is not plainly
 * that, such as a plugin that is asked for a token, is the library's.
 */
export async function kubeConfigOf(context: string | undefined, env: NodeJS.ProcessEnv): Promise<KubeAccess> {
  const plain = await plainAccess(context, env['KUBECONFIG'] || join(homedir(), '.kube', 'config'));
  if (plain) return plain;
  const { KubeConfig } = await import('@kubernetes/client-node');
  const config = new KubeConfig();
  config.loadFromDefault();
  if (context) config.setCurrentContext(context);
  return config;
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
