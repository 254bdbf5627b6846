import { chmod, chown, mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import type { Services } from '../../dev/stack.ts';
import { callKubernetes } from './kubernetes-admin.ts';

// What a kubelet does for a container before it starts it, as far as files and variables go: on the embedded cluster the API
// server, its admission and its controllers are real, and on its nodes nothing runs.

/** A volume as it is on this machine, and where the container has it. */
export interface Mount {
  readonly from: string;
  readonly to: string;
  readonly writable: boolean;
}

/** What a pod's only container is started with. */
export interface Container {
  readonly pod: string;
  readonly image: string;
  /** Instead of the image's entry point; empty for that. */
  readonly command: readonly string[];
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly mounts: readonly Mount[];
}

const keyed = z.object({ name: z.string(), key: z.string() });
const items = z.array(z.object({ key: z.string(), path: z.string() }));
const projected = z.union([
  z.strictObject({ serviceAccountToken: z.looseObject({ path: z.string() }) }),
  z.strictObject({ configMap: z.object({ name: z.string(), items }) }),
  z.strictObject({
    downwardAPI: z.object({
      items: z.array(z.object({ path: z.string(), fieldRef: z.object({ fieldPath: z.string() }) })),
    }),
  }),
]);
const volume = z.union([
  z.strictObject({ name: z.string(), emptyDir: z.unknown() }),
  z.strictObject({ name: z.string(), persistentVolumeClaim: z.unknown() }),
  z.strictObject({
    name: z.string(),
    secret: z.object({ secretName: z.string(), items, defaultMode: z.number() }),
  }),
  z.strictObject({ name: z.string(), configMap: z.object({ name: z.string(), items, defaultMode: z.number() }) }),
  z.strictObject({ name: z.string(), projected: z.object({ sources: z.array(projected), defaultMode: z.number() }) }),
]);
const podSchema = z.object({
  metadata: z.object({ name: z.string(), namespace: z.string(), uid: z.string() }),
  spec: z.object({
    nodeName: z.string(),
    serviceAccountName: z.string(),
    securityContext: z.object({ fsGroup: z.number() }),
    volumes: z.array(volume),
    containers: z.tuple([
      z.object({
        image: z.string(),
        command: z.array(z.string()).default([]),
        args: z.array(z.string()).default([]),
        env: z.array(
          z.object({
            name: z.string(),
            value: z.string().default(''),
            valueFrom: z
              .union([
                z.strictObject({ fieldRef: z.object({ fieldPath: z.string() }) }),
                z.strictObject({ secretKeyRef: keyed }),
              ])
              .optional(),
          }),
        ),
        volumeMounts: z.array(
          z.strictObject({
            name: z.string(),
            mountPath: z.string(),
            readOnly: z.boolean().default(false),
            recursiveReadOnly: z.string().optional(),
          }),
        ),
      }),
    ]),
  }),
});
type Pod = z.infer<typeof podSchema>;
type Volume = z.infer<typeof volume>;
type File = readonly [path: string, content: string | Uint8Array];

export interface PodName {
  readonly namespace: string;
  readonly name: string;
}

/**
 * Puts together what the container of a scheduled pod has: variables and volumes, out of the Secrets and ConfigMaps in the
 * API server, and a token that is bound to the pod. What a mounted folder that may be written to holds stays, as it does
 * when a container is started again.
 * @param folder where the volumes are
 */
export async function containerOf(
  cluster: Pick<Services, 'kubernetes'>,
  { namespace, name }: PodName,
  folder: string,
): Promise<Container> {
  const kubectl = (...args: readonly string[]) => callKubernetes(cluster, '-n', namespace, ...args);
  const read = async (...args: readonly string[]) => JSON.parse(await kubectl('get', ...args, '-o', 'json')) as unknown;
  const pod = podSchema.parse(await read('pod', name));
  const known = new Map<string, Promise<Record<string, Buffer>>>();
  const dataOf = (kind: 'secret' | 'configmap', of: string) => {
    const key = `${kind}/${of}`;
    const data = known.get(key) ?? read(key).then(kind === 'secret' ? decoded : plain);
    known.set(key, data);
    return data;
  };
  const picked = async (kind: 'secret' | 'configmap', of: string, wanted: z.infer<typeof items>): Promise<File[]> => {
    const data = await dataOf(kind, of);
    return wanted.map(({ key, path }) => {
      const content = data[key];
      // As the kubelet does: a key that is not there keeps the container from being made.
      if (content === undefined) throw new Error(`references non-existent secret key: ${kind}/${of} ${key}`);
      return [path, content];
    });
  };
  const token = () => {
    const { uid } = pod.metadata;
    const bound = ['--bound-object-kind=Pod', `--bound-object-name=${name}`, `--bound-object-uid=${uid}`];
    return kubectl('create', 'token', pod.spec.serviceAccountName, '--duration=2h', ...bound);
  };
  const filesOf = async (one: Volume): Promise<File[] | undefined> => {
    if ('secret' in one) return picked('secret', one.secret.secretName, one.secret.items);
    if ('configMap' in one) return picked('configmap', one.configMap.name, one.configMap.items);
    if (!('projected' in one)) return undefined;
    const parts = one.projected.sources.map(async (source): Promise<File[]> => {
      if ('configMap' in source) return picked('configmap', source.configMap.name, source.configMap.items);
      if ('serviceAccountToken' in source) return [[source.serviceAccountToken.path, (await token()).trim()]];
      return source.downwardAPI.items.map(({ path, fieldRef }) => [path, fieldOf(pod, fieldRef.fieldPath)]);
    });
    return (await Promise.all(parts)).flat();
  };

  const group = pod.spec.securityContext.fsGroup;
  const [{ image, command, args, env, volumeMounts }] = pod.spec.containers;
  const mounts = await Promise.all(
    volumeMounts.map(async ({ name: of, mountPath, readOnly }): Promise<Mount> => {
      const from = join(folder, of);
      const one = pod.spec.volumes.find((each) => each.name === of);
      if (!one) throw new Error(`${name} mounts ${of}, which is no volume of it`);
      const files = await filesOf(one);
      if (files) await rm(from, { recursive: true, force: true });
      await mkdir(from, { recursive: true });
      await own(from, files ? 0o750 : 0o770, group);
      for (const [path, content] of files ?? []) {
        const file = join(from, path);
        await mkdir(dirname(file), { recursive: true });
        await writeFile(file, content);
        await own(file, 0o440, group);
      }
      return { from, to: mountPath, writable: !readOnly && files === undefined };
    }),
  );
  const variables = await Promise.all(
    env.map(async ({ name: of, value, valueFrom }): Promise<[string, string]> => {
      if (!valueFrom) return [of, value];
      if ('fieldRef' in valueFrom) return [of, fieldOf(pod, valueFrom.fieldRef.fieldPath)];
      const { name: secret, key } = valueFrom.secretKeyRef;
      const [file] = await picked('secret', secret, [{ key, path: key }]);
      return [of, String(file?.[1])];
    }),
  );
  const { hostname, port } = new URL(cluster.kubernetes.server);
  const service = { KUBERNETES_SERVICE_HOST: hostname, KUBERNETES_SERVICE_PORT: port };
  return { pod: name, image, command, args, env: { ...service, ...Object.fromEntries(variables) }, mounts };
}

/** The same container without a file system of its own: what its variables name is where it is on this machine. */
export function onThisMachine({ env, mounts }: Pick<Container, 'env' | 'mounts'>): Record<string, string> {
  const account = mounts.find(({ to }) => to === ACCOUNT);
  const moved = Object.entries(env).map(([name, value]) => {
    const mount = mounts.find(({ to }) => value === to || value.startsWith(`${to}/`));
    return [name, mount ? `${mount.from}${value.slice(mount.to.length)}` : value];
  });
  return { ...Object.fromEntries(moved), ...(account && { BYOC_KUBE_ACCOUNT_DIR: account.from }) };
}

const ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';

/** Root gives files to the group of the pod, as a kubelet does with `fsGroup`; others keep them. */
async function own(path: string, mode: number, group: number): Promise<void> {
  await chmod(path, mode);
  if (process.getuid?.() === 0) await chown(path, 0, group);
}

function fieldOf({ metadata, spec }: Pod, path: string): string {
  const fields: Readonly<Record<string, string>> = {
    'metadata.name': metadata.name,
    'metadata.namespace': metadata.namespace,
    'spec.nodeName': spec.nodeName,
  };
  const value = fields[path];
  if (value === undefined) throw new Error(`a field that no container has asked for yet: ${path}`);
  return value;
}

const dataSchema = z.object({ data: z.record(z.string(), z.string()).default({}) });
const decoded = (object: unknown) => mapped(object, (text) => Buffer.from(text, 'base64'));
const plain = (object: unknown) => mapped(object, (text) => Buffer.from(text));

function mapped(object: unknown, read: (text: string) => Buffer): Record<string, Buffer> {
  const { data } = dataSchema.parse(object);
  return Object.fromEntries(Object.entries(data).map(([key, text]) => [key, read(text)]));
}
