import { readFile, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { parse, stringify } from 'yaml';
import type { KubeApi } from '../../activities/kubernetes/kube-api.ts';
import { run } from '../../dev/process.ts';
import { get } from '../../dev/servers/https.ts';
import type { Stack } from '../../dev/stack.ts';
import { TestConnector } from '../support/connector.ts';
import type { WaitingPackage } from '../support/connector.ts';
import { effectsOf, ONCE, prepareTarget, stepsOnce } from '../support/exactly-once.ts';
import { adminApi } from '../support/kubernetes-admin.ts';
import { SlowNetwork } from '../support/slow-network.ts';
import { ownStack } from '../support/stack.ts';
import { until } from '../support/until.ts';

/** What happens to the servers in the middle of a package. Each waits for pods in the meantime, so there is a middle. */
describe('a package of five steps comes through, and does everything once, when', () => {
  let stack: Stack;
  let network: SlowNetwork;
  let connector: TestConnector;
  let api: KubeApi;
  let ns: string;
  let tokens: Tokens;

  beforeAll(async () => {
    stack = await ownStack(['temporal', 'vault', 's3', 'kubernetes'], { persist: true });
    network = await SlowNetwork.start(stack.kubernetes);
    tokens = new Tokens(stack, network.kubeconfig);
    connector = await TestConnector.start({ services: stack, env: { KUBECONFIG: await tokens.kubeconfig() } });
    ns = connector.namespace;
    api = adminApi(stack.kubernetes.kubeconfig);
  }, 120_000);
  afterAll(async () => {
    await api.close();
    await connector.stop();
    await network.stop();
    await stack.stop();
  });

  const approve = ({ workflowId, planDigest }: WaitingPackage) =>
    connector.signalApproval(workflowId, { approver: 'bob@example.com', planDigest });

  it.each([
    [
      'the API server is killed and comes back',
      'api',
      async () => {
        await stack.kill('kube-apiserver');
        await sleep(1_000);
        await stack.restart('kube-apiserver');
      },
    ],
    [
      'Temporal is killed and comes back',
      'temporal',
      async () => {
        await stack.kill('temporal');
        await sleep(1_000);
        await stack.restart('temporal');
      },
    ],
    [
      'the API server answers late',
      'slow',
      async () => {
        await network.holdAnswers(700);
        await sleep(6_000);
        await network.letAnswersThrough();
      },
    ],
    [
      'the way to the API server is cut for a while',
      'cut',
      async () => {
        await network.cut();
        await sleep(3_000);
        await network.join();
      },
    ],
    [
      'the token of the connector is replaced and the old one does not count any more',
      'token',
      async () => {
        await network.cut(); // nothing is done before the old one has lost its force
        await tokens.rotate();
        await network.join();
      },
    ],
  ])(
    '%s',
    async (_what, name, disturb) => {
      await prepareTarget(api, ns, name);
      const steps = stepsOnce(ns, name);
      const middle = steps.findIndex(({ id }) => id === 'append') + 1;
      const one = await connector.submitAndPlan({ steps });
      await approve(one);
      // A busy machine may look only when that step is over.
      await connector.untilView(one.wpkId, ({ progress: { index = 0, waitingFor } = {} }) =>
        index === middle ? waitingFor !== undefined : index > middle,
      );
      await disturb();
      const { phase, error } = await connector.client.result(one.wpkId);
      expect({ phase, error }).toEqual({ phase: 'succeeded' });
      expect(await effectsOf(api, ns, name)).toEqual(ONCE);
      const ends = (await connector.audit({ workflowId: one.workflowId })).filter(
        ({ type }) => type === 'package.succeeded',
      );
      expect(ends).toHaveLength(1);
    },
    120_000,
  );
});

/** A service account whose tokens are bound to Secrets: a token ends with its Secret. */
class Tokens {
  readonly #stack: Stack;
  readonly #kubeconfig: string;
  #current = 0;

  constructor(stack: Stack, kubeconfig: string) {
    this.#stack = stack;
    this.#kubeconfig = kubeconfig;
  }

  /** A kubeconfig that reads the token from a file, as in a pod. */
  async kubeconfig(): Promise<string> {
    await this.#kubectl('create', 'serviceaccount', 'connector', '-n', 'default');
    await this.#kubectl(
      'create',
      'clusterrolebinding',
      'connector',
      '--clusterrole=cluster-admin',
      '--serviceaccount=default:connector',
    );
    await this.#renew();
    const config = parse(await readFile(this.#kubeconfig, 'utf8')) as { users: [{ user: object }] };
    // What the client library makes of the account of a pod.
    config.users[0].user = { 'auth-provider': { name: 'tokenFile', config: { tokenFile: this.#tokenFile } } };
    const file = `${this.#kubeconfig}.by-token`;
    await writeFile(file, stringify(config), { mode: 0o600 });
    return file;
  }

  async rotate(): Promise<void> {
    const old = await readFile(this.#tokenFile, 'utf8');
    const secret = `bound-${this.#current}`;
    await this.#renew();
    await this.#kubectl('delete', 'secret', secret, '-n', 'default');
    // The API server remembers for some seconds whom it has let in.
    await until('the old token to be refused', () => this.#isRefused(old));
  }

  async #isRefused(token: string): Promise<boolean> {
    const { server, caFile } = this.#stack.kubernetes;
    const options = { ca: await readFile(caFile, 'utf8'), token };
    return (await get(`${server}/api/v1/namespaces/default`, options)).status === 401;
  }

  async #renew(): Promise<void> {
    this.#current += 1;
    const secret = `bound-${this.#current}`;
    await this.#kubectl('create', 'secret', 'generic', secret, '-n', 'default');
    const bound = ['--bound-object-kind', 'Secret', '--bound-object-name', secret];
    const token = await this.#kubectl('create', 'token', 'connector', '-n', 'default', ...bound);
    await writeFile(this.#tokenFile, token.trim(), { mode: 0o600 });
  }

  get #tokenFile(): string {
    return `${this.#kubeconfig}.token`;
  }

  #kubectl(...args: string[]): Promise<string> {
    const { kubectl, kubeconfig } = this.#stack.kubernetes;
    return run(kubectl, ['--kubeconfig', kubeconfig, ...args], { env: { PATH: '/usr/bin:/bin' } });
  }
}
