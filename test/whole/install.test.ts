import { existsSync } from 'node:fs';
import { chmod, copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { parseAllDocuments } from 'yaml';
import { PROJECT } from '../../dev/image/commit.ts';
import { canIsolate } from '../../dev/image/sandbox.ts';
import type { Stack } from '../../dev/stack.ts';
import { everything } from '../support/cluster-objects.ts';
import { BUILD_TIMEOUT_MS, folderImage } from '../support/folder-image.ts';
import { ImageNode } from '../support/image-node.ts';
import { applyObjects, callKubernetes } from '../support/kubernetes-admin.ts';
import { commandBlocks, readPage } from '../support/page-commands.ts';
import type { Answer } from '../support/shell.ts';
import { Shell } from '../support/shell.ts';
import { ownStack } from '../support/stack.ts';
import { tool } from '../support/tools.ts';
import { until } from '../support/until.ts';
import { callVault } from '../support/vault.ts';

// R22, R27: docs/install.md, followed as its reader would: each block of it as it stands there, one after the other, in one shell.
// API server, admission, controllers, Temporal, Vault and S3 are real, and so is what runs in the pods: the image's entry point, with
// the variables, files and account of a pod that the DaemonSet has made, of which one is run. There is no network plugin: nobody
// enforces a NetworkPolicy, and a pod is told on which address of this machine it listens.

const NAMESPACE = 'byoc';
const EXECUTION = 'app.kubernetes.io/instance=byoc,app.kubernetes.io/component=execution';
const IMAGE = 'registry.example.com/neuralops/byoc-connector:0.1.0';
const TIMEOUT_MS = 120_000;
const PASSWORDS = { release: 'of the release', carol: "Carol's own", dave: "Dave's" } as const;

/** Of the pod: another one in each run. */
const ADDRESS = `127.9.${(process.pid >> 8) & 255}.${process.pid & 255 || 1}`;

// Mounts and another user are root's to make; script(1) makes the terminal.
const isolated = canIsolate() && existsSync('/usr/bin/script');
const described = isolated ? describe : describe.skip;

described(`docs/install.md${isolated ? '' : ' (skipped: needs root, unshare, setpriv and script)'}`, () => {
  let stack: Stack;
  let folder: string;
  let node: ImageNode;
  let shell: Shell;
  let page: string;
  let before: readonly string[];
  const followed = new Set<number>();
  const home = () => join(folder, 'home');
  /** The reader's folder, in which keys and values are. */
  const own = (name = '') => join(home(), 'byoc-prod-eu-1', name);

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'byoc-install-'));
    const [image, started] = await Promise.all([folderImage(), ownStack(['temporal', 'vault', 's3', 'kubernetes'])]);
    stack = started;
    node = await ImageNode.open({
      ...{ services: stack, image, folder: join(folder, 'node') },
      ...{ names: ['byoc-connector-execution.byoc.svc'], address: ADDRESS },
    });
    page = await readPage('install.md');
    await bringAlong();
    shell = new Shell({ folder, env: await readersEnvironment() });
    await shell.type(`cd ${PROJECT}`);
  }, BUILD_TIMEOUT_MS);
  afterAll(async () => {
    await shell.close();
    await node.stop();
    await stack.stop();
    await rm(folder, { recursive: true, force: true });
  });

  /** What a reader has before the first line: a namespace for packages, certificates, and somebody who may read plans. */
  async function bringAlong(): Promise<void> {
    const { temporal, vault } = stack;
    await mkdir(own(), { recursive: true });
    await copyFile(temporal.certFile, own('client.crt'));
    await copyFile(temporal.keyFile, own('client.key'));
    await copyFile(temporal.caFile, own('temporal-ca.crt'));
    await copyFile(vault.caFile, own('vault-ca.crt'));
    await applyObjects(stack, [{ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } }]);
    const keys = 'byoc/prod-eu-1/payload-keys';
    const policy = `path "secret/data/${keys}/*" { capabilities = ["read"] }
                    path "secret/metadata/${keys}/*" { capabilities = ["list"] }
                    path "secret/metadata/${keys}" { capabilities = ["list"] }`;
    await callVault(vault, 'POST', 'sys/policies/acl/operators', { policy });
    await callVault(vault, 'POST', 'sys/auth/userpass', { type: 'userpass' });
    await callVault(vault, 'POST', 'auth/userpass/users/alice', { password: 'in-wonderland', policies: 'operators' });
  }

  /**
   * The shell of a reader who is an administrator. What this machine has not stands here, and nowhere else:
   * - `npm ci` would make the folder anew out of which this test runs
   * - no container engine: the image is built by the steps of the Containerfile, into a folder
   * - no kubelet that `kubectl exec` could ask: the same command is run in the container of the DaemonSet's first pod
   * - `vault` is OpenBao's command, and `aws` a call of the same API with curl
   */
  async function readersEnvironment(): Promise<Record<string, string>> {
    const { temporal, vault, s3, kubernetes } = stack;
    const bin = join(folder, 'bin');
    await mkdir(bin);
    const programs = {
      npm: ':',
      podman: `echo "podman $*" >> ${folder}/podman.txt`,
      kubectl: `case " $* " in
        " -n byoc exec ds/byoc-connector-execution -- "*) shift 5; exec ${node.exec} "$@";;
        *) exec ${kubernetes.kubectl} "$@";;
        esac`,
      helm: `exec ${await tool('helm')} "$@"`,
      vault: `exec ${vault.bin} "$@"`,
      temporal: `exec ${temporal.bin} "$@"`,
      cosign: `exec ${await tool('cosign')} "$@"`,
      // s3api create-bucket --bucket NAME --object-lock-enabled-for-bucket --region REGION --create-bucket-configuration …
      aws: `exec curl -sS --fail --cacert "$AWS_CA_BUNDLE" --aws-sigv4 "aws:amz:$7:s3" -u "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" \\
        -X PUT -H 'x-amz-bucket-object-lock-enabled: true' "$AWS_ENDPOINT_URL_S3/$4"`,
    };
    for (const [name, text] of Object.entries(programs)) {
      await writeFile(join(bin, name), `#!/bin/sh\n${text}\n`);
      await chmod(join(bin, name), 0o755);
    }
    return {
      ...{ PATH: `${bin}:/usr/local/bin:/usr/bin:/bin`, HOME: home(), KUBECONFIG: kubernetes.kubeconfig },
      ...{ TEMPORAL_ADDRESS: temporal.address, TEMPORAL_TLS_SERVER_CA_CERT_PATH: temporal.caFile },
      ...{ TEMPORAL_TLS_CLIENT_CERT_PATH: temporal.certFile, TEMPORAL_TLS_CLIENT_KEY_PATH: temporal.keyFile },
      ...{ VAULT_ADDR: vault.address, VAULT_CACERT: vault.caFile, VAULT_TOKEN: vault.token },
      ...{ AWS_REGION: 'eu-central-1', AWS_ENDPOINT_URL_S3: s3.endpoint, AWS_CA_BUNDLE: s3.caFile },
      ...{ AWS_ACCESS_KEY_ID: s3.accessKeyId, AWS_SECRET_ACCESS_KEY: s3.secretAccessKey },
    };
  }

  /** Where things are, instead of the page's examples. */
  function here(text: string): string {
    return text
      .replaceAll('temporal.example.com:7233', stack.temporal.address)
      .replaceAll('https://vault.example.com:8200', stack.vault.address);
  }

  /** The page's blocks under a heading, which are all that is typed. */
  async function follow(heading: string, { answers = [], block }: { answers?: Answer[]; block?: number } = {}) {
    const blocks = commandBlocks(page).filter((one) => one.heading === heading && one.isRun);
    const wanted = block === undefined ? blocks : blocks.slice(block, block + 1);
    if (wanted.length === 0) throw new Error(`There is no command under "${heading}".`);
    for (const { line } of wanted) followed.add(line);
    const text = here(wanted.map((one) => one.text).join('\n'));
    return shell.type(text, answers);
  }

  /** A file that the page shows. */
  function fileOf(name: string): string {
    const [, text] = new RegExp(`\`\`\`yaml\\n# ${name}\\n([\\s\\S]*?)\`\`\``).exec(page) ?? [];
    if (text === undefined) throw new Error(`The page has no file ${name}.`);
    return here(text);
  }

  it('begins with a namespace that enforces pod security restricted', async () => {
    expect(await follow('Install it')).toContain('namespace/byoc labeled');
  });

  it('builds the image, and pushes it under the name that the chart asks for', async () => {
    await follow('1. The image');
    const calls = await readFile(join(folder, 'podman.txt'), 'utf8');
    expect(calls).toMatch(/^podman build --file=Containerfile --build-arg=VERSION=0\.1\.0 .*--tag=\S+:0\.1\.0-\w+/m);
    expect(calls).toContain(`podman push ${IMAGE}`);
  });

  it(
    'makes a Temporal namespace with its search attributes, and the Secret for it',
    async () => {
      const shown = await follow('2. Temporal');
      expect(shown).toContain('secret/byoc-temporal created');
      expect(shown).toContain('configmap/byoc-authorities created');
    },
    TIMEOUT_MS,
  );

  it(
    'makes keys and a login in Vault',
    async () => {
      const twice = (password: string): Answer[] => [
        { asked: /password for private key:/i, typed: password },
        { asked: /again:/i, typed: password },
      ];
      const shown = await follow('3. Vault', {
        answers: [PASSWORDS.release, PASSWORDS.carol, PASSWORDS.dave].flatMap(twice),
      });
      expect(shown).toContain('secret/byoc-vault-execution created');
      const [, roleId = ''] = /^([0-9a-f]{8}-[0-9a-f-]{27})/m.exec(shown) ?? [];
      // SeaweedFS is not at Amazon: it has an address, a certificate of the authority that Temporal's has, and encrypts when told.
      const s3 = `endpoint: '${stack.s3.endpoint}', encryption: AES256, ca: { existingConfigMap: byoc-authorities, key: temporal-ca.crt }`;
      const values = fileOf('my-values.yaml').replace('6a0e…', roleId).replace('region: eu-central-1', `$&, ${s3}`);
      await writeFile(own('my-values.yaml'), values);
    },
    TIMEOUT_MS,
  );

  it('makes a bucket with Object Lock, a certificate for port 8005, and tells the address of the API server', async () => {
    expect(await follow('4. The bucket for the audit log')).toContain('secret/byoc-s3 created');
    expect(await follow('5. The certificate of port 8005')).toContain('secret/byoc-agent-tls created');
    await follow('6. Values'); // this API server is on a loopback address, which it does not list
  });

  it(
    'installs, with a pod on each node that is as the page says, and every part answers in it',
    async () => {
      before = await everything(stack);
      const installing = follow('7. Install');
      const [first, second] = await until('a pod on each node', async () => {
        const pods = await node.pods(NAMESPACE, EXECUTION);
        return pods.length === 2 && pods;
      });
      if (!first || !second) throw new Error('There are two nodes.');
      expect(await node.container(second)).toMatchObject({ image: IMAGE });
      const { image, args, env } = await node.start(first);
      expect({ image, args }).toEqual({ image: IMAGE, args: ['--role', 'execution'] });
      expect(env).toMatchObject({ BYOC_PAYLOAD_CODEC: 'vault', BYOC_AGENT_PORT: '8005', SIMULATION: 'false' });
      const shown = await installing;
      expect(shown).toContain('The connector of cluster prod-eu-1 is installed.');
      expect(shown).toMatch(/Phase: +Succeeded/);
      expect(shown).toMatch(/^\d+ ok \(/m); // no warning, no error
    },
    TIMEOUT_MS,
  );

  it('answers the Job of helm test, by name and by TLS', async () => {
    const hooks = await shell.type('helm get hooks byoc --namespace byoc');
    const [job] = parseAllDocuments(hooks.slice(hooks.indexOf('---'))).map((one) => one.toJS() as Job);
    const name = 'health-by-hand';
    const { labels } = job?.spec.template.metadata ?? {};
    const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace: NAMESPACE, labels } };
    await applyObjects(stack, [{ ...pod, spec: job?.spec.template.spec }]);
    await until('the pod to have a node', async () => {
      const node = await callKubernetes(stack, 'get', 'pod', name, '-n', NAMESPACE, '-o', 'jsonpath={.spec.nodeName}');
      return node !== '';
    });
    const ran = await node.run(await node.container({ namespace: NAMESPACE, name }));
    await callKubernetes(stack, 'delete', 'pod', name, '-n', NAMESPACE, '--now');
    expect(ran).toMatchObject({ code: 0, stdout: expect.stringMatching(/^byoc-connector-execution\.byoc\.svc 200 /) });
  });

  it(
    'executes the first package, signed and approved by people with keys of their own',
    async () => {
      await writeFile(own('change.yaml'), fileOf('change.yaml'));
      await shell.type('unset VAULT_TOKEN VAULT_ADDR VAULT_CACERT');
      const login = here(
        'VAULT_ADDR=https://vault.example.com:8200 VAULT_CACERT=vault-ca.crt vault login -method=userpass -no-print username=alice',
      );
      await shell.type(login, [{ asked: /password/i, typed: 'in-wonderland' }]);
      const shown = await follow('The first package', {
        answers: [
          { asked: /password for private key:/i, typed: PASSWORDS.release },
          { asked: /approve exactly this plan\?/i, typed: 'y' },
          { asked: /password/i, typed: PASSWORDS.carol },
        ],
      });
      expect(shown).toContain('succeeded');
      expect(await callKubernetes(stack, 'get', 'configmap', 'settings', '-n', 'shop', '-o', 'jsonpath={.data}')).toBe(
        '{"timeout":"60s"}',
      );
    },
    TIMEOUT_MS,
  );

  it(
    'takes another policy: another pod, while the one before drains',
    async () => {
      const values = await readFile(own('my-values.yaml'), 'utf8');
      await writeFile(own('my-values.yaml'), values.replace('quorum: 2', 'quorum: 3'));
      const upgrading = follow('Change it, take it away', { block: 0 });
      const policy = await replaced();
      expect(await upgrading).toContain('successfully rolled out');
      expect(policy).toContain('quorum: 3');
    },
    TIMEOUT_MS,
  );

  it(
    'goes back to the policy before',
    async () => {
      const rolling = follow('Change it, take it away', { block: 1 });
      const policy = await replaced();
      expect(await rolling).toContain('Rollback was a success');
      expect(policy).toContain('quorum: 2');
    },
    TIMEOUT_MS,
  );

  it(
    'leaves nothing of the chart when it is uninstalled',
    async () => {
      await follow('Change it, take it away', { block: 2 });
      await node.drain();
      await follow('Change it, take it away', { block: 3 });
      const expected = [...before, 'ConfigMap shop settings'].sort(); // what the package brought
      let left: string[] = [];
      await until('what controllers clear up', async () => {
        left = await everything(stack);
        return left.join('\n') === expected.join('\n');
      }).catch(() => expect(left).toEqual(expected));
      expect(await callKubernetes(stack, 'get', 'leases', '-n', NAMESPACE, '-o', 'name')).toBe('');
      await until('no schedule to be listed', async () => {
        const listed = await shell.type('temporal schedule list -o json');
        return (JSON.parse(listed) as unknown[]).length === 0;
      });
    },
    TIMEOUT_MS,
  );

  it('has no other commands', () => {
    expect(commandBlocks(page).filter(({ line, isRun }) => isRun && !followed.has(line))).toEqual([]);
  });

  /** The DaemonSet has another pod on the node: the old container ends, a new one starts; resolves to the policy in it. */
  async function replaced(): Promise<string> {
    const old = node.current;
    const pod = await until('another pod', async () => {
      const [first, second] = await node.pods(NAMESPACE, EXECUTION);
      return second && first?.name !== old && first;
    });
    expect(await node.drain()).toContain('"message":"stopped"');
    const { mounts } = await node.start(pod);
    const { from = '' } = mounts.find(({ to }) => to === '/etc/byoc/policy') ?? {};
    return readFile(join(from, 'policy.yaml'), 'utf8');
  }
});

interface Job {
  readonly spec: { readonly template: { readonly metadata: { readonly labels: object }; readonly spec: object } };
}
