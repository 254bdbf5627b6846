import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { ulid } from 'ulid';
import { applyingAccess, TOKEN_SECONDS } from '../../../activities/kubernetes/applying-account.ts';
import type { ApplyingAccountOptions } from '../../../activities/kubernetes/applying-account.ts';
import type { KubeAccess } from '../../../activities/kubernetes/credentials.ts';
import type { KubeApi, WriteCall } from '../../../activities/kubernetes/kube-api.ts';
import { createKubeApi } from '../../../activities/kubernetes/kube-api.ts';
import { at } from '../../../activities/kubernetes/kube-object.ts';
import { kubeConfigOf } from '../../../activities/kubernetes/kubeconfig.ts';
import type { Services } from '../../../dev/stack.ts';
import { ConnectorError } from '../../../domain/errors.ts';
import { callKubernetes } from '../../support/kubernetes-admin.ts';
import { sharedServices } from '../../support/stack.ts';
import { until } from '../../support/until.ts';

// R7, R16, R38

const WHO_AM_I: WriteCall = {
  method: 'POST',
  path: '/apis/authentication.k8s.io/v1/selfsubjectreviews',
  query: {},
  contentType: 'application/json',
  body: JSON.stringify({ apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' }),
};

describe('the account that packages are applied with', () => {
  let services: Services;
  let base: KubeAccess;
  let own: KubeApi;
  let namespace: string;
  let elapsedMs: number;
  let issued: number;
  let troubles: unknown[];
  const opened: KubeApi[] = [];

  beforeAll(async () => {
    services = await sharedServices();
    base = await kubeConfigOf(undefined, { KUBECONFIG: services.kubernetes.kubeconfig });
    own = createKubeApi(base);
    namespace = `test-${ulid().toLowerCase()}`;
    await callKubernetes(services, 'create', 'namespace', namespace);
  });
  afterAll(async () => {
    await callKubernetes(services, 'delete', 'namespace', namespace, '--wait=false');
    await own.close();
  });
  beforeEach(async () => {
    [elapsedMs, issued, troubles] = [0, 0, []];
    await callKubernetes(services, 'create', 'serviceaccount', 'apply', '-n', namespace);
  });
  afterEach(async () => {
    await callKubernetes(services, 'delete', 'serviceaccount', 'apply', '-n', namespace, '--ignore-not-found');
    await Promise.all(opened.splice(0).map((api) => api.close()));
  });

  function open(options: Partial<ApplyingAccountOptions> = {}): KubeApi {
    const access = applyingAccess({
      api: own,
      base,
      account: { namespace, name: 'apply' },
      onIssued: () => Promise.resolve(void (issued += 1)),
      onTrouble: (error) => troubles.push(error),
      now: () => performance.now() + elapsedMs,
      ...options,
    });
    const api = createKubeApi(access);
    opened.push(api);
    return api;
  }
  const whoIs = async (api: KubeApi) => String(at(await api.write(WHO_AM_I), 'status', 'userInfo', 'username'));
  const applying = () => `system:serviceaccount:${namespace}:apply`;
  /** What a request is sent with; a connection asks for it anew after 10 s. */
  const credentialsOf = async (access: KubeAccess) => {
    const options: Parameters<KubeAccess['applyToHTTPSOptions']>[0] = {};
    await access.applyToHTTPSOptions(options);
    return options;
  };
  const accessWith = (options: Partial<ApplyingAccountOptions>) =>
    applyingAccess({
      api: own,
      base,
      account: { namespace, name: 'apply' },
      onIssued: () => Promise.resolve(void (issued += 1)),
      onTrouble: (error) => troubles.push(error),
      now: () => elapsedMs,
      ...options,
    });

  it('is who the API server sees, and nobody else, with one token for many requests', async () => {
    const api = open();
    expect(new Set(await Promise.all(Array.from({ length: 20 }, () => whoIs(api))))).toEqual(new Set([applying()]));
    expect(issued).toBe(1);
  });

  it('takes nothing of the credentials of the connector but how the server is verified', async () => {
    const withOwn: KubeAccess = {
      getCurrentCluster: () => base.getCurrentCluster(),
      async applyToHTTPSOptions(options) {
        await base.applyToHTTPSOptions(options);
        Object.assign(options, { cert: 'own', key: 'own', passphrase: 'own', auth: 'own:own' });
        options.headers = { ...options.headers, 'Impersonate-User': 'own' };
      },
    };
    const { ca, headers, ...rest } = await credentialsOf(accessWith({ base: withOwn }));
    expect(rest).toEqual({});
    expect(Object.keys(headers ?? {})).toEqual(['Authorization']);
    expect(String(ca)).toContain('CERTIFICATE');
  });

  it('has its token replaced at half of its life', async () => {
    const access = accessWith({});
    const first = (await credentialsOf(access)).headers;
    elapsedMs = (TOKEN_SECONDS / 2 - 1) * 1_000;
    expect((await credentialsOf(access)).headers).toEqual(first);
    elapsedMs += 2_000;
    expect((await credentialsOf(access)).headers).not.toEqual(first);
    expect(issued).toBe(2);
  });

  it('goes on with the token it has where there is no other, until that ends', async () => {
    let away = false;
    const write: KubeApi['write'] = (call) =>
      away ? Promise.reject(new ConnectorError('KUBERNETES_UNAVAILABLE')) : own.write(call);
    const access = accessWith({ api: { write } });
    const first = (await credentialsOf(access)).headers;
    away = true;
    elapsedMs = TOKEN_SECONDS * 0.6 * 1_000;
    expect((await credentialsOf(access)).headers).toEqual(first);
    expect((await credentialsOf(access)).headers).toEqual(first);
    expect(troubles).toHaveLength(1); // it is not asked with each request
    elapsedMs = TOKEN_SECONDS * 1_000;
    await expect(credentialsOf(access)).rejects.toMatchObject({ code: 'KUBERNETES_UNAVAILABLE' });
    away = false;
    expect((await credentialsOf(access)).headers).not.toEqual(first);
  });

  it('has a token that is refused replaced at once: that of an account that was made anew', async () => {
    const api = open();
    expect(await whoIs(api)).toBe(applying());
    await callKubernetes(services, 'delete', 'serviceaccount', 'apply', '-n', namespace);
    elapsedMs = 2_000;
    // The server remembers for some seconds whose token it was.
    const refused = await until(
      'the token to end with its account',
      () =>
        whoIs(api).then(
          () => undefined,
          (error: unknown) => error,
        ),
      20_000,
    );
    const detail = `There is no ServiceAccount ${namespace}/apply to apply packages with.`;
    expect(refused).toMatchObject({ code: 'KUBERNETES_UNAVAILABLE', detail });
    await callKubernetes(services, 'create', 'serviceaccount', 'apply', '-n', namespace);
    expect(await whoIs(api)).toBe(applying());
  }, 40_000);

  it('is not there for who may not ask for its token', async () => {
    const stranger = open(); // an account without any right
    const access = accessWith({ api: stranger });
    await expect(credentialsOf(access)).rejects.toMatchObject({ code: 'KUBERNETES_FORBIDDEN' });
    expect(troubles).toHaveLength(1);
  });

  it('is not used where it cannot be recorded that its token was issued', async () => {
    const unwritten = new ConnectorError('AUDIT_UNAVAILABLE');
    const api = open({ onIssued: () => Promise.reject(unwritten) });
    await expect(whoIs(api)).rejects.toBe(unwritten);
  });
});
