import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { RequestOptions } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { KubeConfig } from '@kubernetes/client-node';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { stringify } from 'yaml';
import type { KubeAccess } from '../../../activities/kubernetes/credentials.ts';
import { createKubeApi } from '../../../activities/kubernetes/kube-api.ts';
import { kubeConfigOf } from '../../../activities/kubernetes/kubeconfig.ts';
import { sharedServices } from '../../support/stack.ts';

const CONTEXTS = 'contexts: [{ name: one, context: { cluster: c } }, { name: two, context: { cluster: c } }]';
const base64 = (text: string) => Buffer.from(text).toString('base64');

describe('a kubeconfig that the command reads', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'byoc-kubeconfig-'));
    await writeFile(join(folder, 'ca.pem'), 'an authority');
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  async function write(cluster: object, user: object): Promise<string> {
    const file = join(folder, 'config');
    const config = {
      clusters: [
        { name: 'other', cluster: { server: 'https://other.example' } },
        { name: 'c', cluster: { server: 'https://api.example:6443', ...cluster } },
      ],
      users: [
        { name: 'other', user: {} },
        { name: 'u', user },
      ],
      contexts: [
        { name: 'other', context: { cluster: 'other', user: 'other' } },
        { name: 'mine', context: { cluster: 'c', user: 'u', namespace: 'shop' } },
      ],
      'current-context': 'mine',
    };
    await writeFile(file, stringify({ apiVersion: 'v1', kind: 'Config', ...config }));
    return file;
  }
  async function optionsOf(access: KubeAccess) {
    const options: RequestOptions & { servername?: string } = {};
    await access.applyToHTTPSOptions(options);
    const { ca, cert, key, servername, headers } = options;
    return { ca: String(ca), cert: String(cert), key: String(key), servername, headers };
  }

  it.each<[string, object, object]>([
    ['a token', { 'certificate-authority-data': base64('an authority') }, { token: 'secret' }],
    [
      'a certificate',
      { 'certificate-authority': 'ca.pem', 'tls-server-name': 'api.internal' },
      { 'client-certificate-data': base64('a certificate'), 'client-key-data': base64('a key') },
    ],
    ['nothing', { 'certificate-authority': 'ca.pem' }, {}],
  ])('with %s gives what the library gives, without it', async (_, cluster, user) => {
    const file = await write(cluster, user);
    const library = new KubeConfig();
    library.loadFromFile(file);
    const access = await kubeConfigOf(undefined, { KUBECONFIG: file });
    expect(access).not.toBeInstanceOf(KubeConfig);
    const { name, server, skipTLSVerify } = library.getCurrentCluster() ?? {};
    expect(access.getCurrentCluster()).toEqual({ name, server, skipTLSVerify });
    const [own, theirs] = await Promise.all([optionsOf(access), optionsOf(library)]);
    expect(own).toEqual({ ...theirs, headers: own.headers });
    expect(own.headers ?? {}).toEqual('token' in user ? { Authorization: 'Bearer secret' } : {});
  });

  it('is read in the context that is named', async () => {
    const access = await kubeConfigOf('other', { KUBECONFIG: await write({}, {}) });
    expect(access.getCurrentCluster()).toMatchObject({ server: 'https://other.example' });
  });

  it.each<[string, object, object]>([
    [
      'asks a plugin for its token',
      {},
      { exec: { apiVersion: 'client.authentication.k8s.io/v1', command: 'get-token' } },
    ],
    ['turns verification off', { 'insecure-skip-tls-verify': true }, { token: 'secret' }],
    ['goes through a proxy', { 'proxy-url': 'http://proxy.example' }, { token: 'secret' }],
    ['does not use TLS', { server: 'http://api.example' }, { token: 'secret' }],
  ])('that %s is left to the library', async (_, cluster, user) => {
    const previous = process.env['KUBECONFIG'];
    process.env['KUBECONFIG'] = await write(cluster, user); // where the library looks
    try {
      expect(await kubeConfigOf(undefined, process.env)).toBeInstanceOf(KubeConfig);
    } finally {
      process.env['KUBECONFIG'] = previous ?? '';
    }
  });

  it.each<[string, string | undefined, string | undefined, string]>([
    ['is not there', undefined, undefined, 'KUBECONFIG names FILE: it does not exist.'],
    ['is no YAML', 'a: b: secret', undefined, 'KUBECONFIG names FILE: it is no YAML, at 1:5.'],
    ['is empty', '', undefined, 'KUBECONFIG names FILE: it is no kubeconfig.'],
    ['lacks the context that is named', CONTEXTS, 'nope', 'There is no context "nope" in FILE; there is: one, two.'],
    ['has no current context', CONTEXTS, undefined, 'FILE has no current context; there is: one, two.'],
  ])('that %s is refused, with what to look at', async (_, content, context, detail) => {
    const file = join(folder, 'unusable');
    if (content === undefined) await rm(file, { force: true });
    else await writeFile(file, content);
    const previous = process.env['KUBECONFIG'];
    process.env['KUBECONFIG'] = file; // where the library looks
    try {
      await expect(kubeConfigOf(context, process.env)).rejects.toMatchObject({
        ...{ code: 'CONFIG_INVALID', detail: detail.replace('FILE', file) },
      });
    } finally {
      process.env['KUBECONFIG'] = previous ?? '';
    }
  });

  it('opens the API server', async () => {
    const { kubeconfig } = (await sharedServices()).kubernetes;
    const api = createKubeApi(await kubeConfigOf(undefined, { KUBECONFIG: kubeconfig }));
    expect(await api.clusterUid()).toMatch(/^[0-9a-f-]{36}$/);
    await api.close();
  });
});
