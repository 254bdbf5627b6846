import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { join } from 'node:path';
import bcrypt from 'bcryptjs';

import type { Host } from '../host.ts';

export interface PrometheusService {
  /** https */
  readonly address: string;
  readonly username: string;
  readonly password: string;
  /** PEM of the authority that its certificate is verified against. */
  readonly ca: string;
  /** PEM file of the same. */
  readonly caFile: string;
}

const USERNAME = 'byoc';
/** The lowest that bcrypt has: each scrape costs one. */
const BCRYPT_COST = 4;

/**
 * Starts Prometheus with TLS and basic authentication, which scrapes itself. Its series carry a label `customer` with a
 * mail address in it, as applications do such things.
 */
export async function startPrometheus(host: Host): Promise<PrometheusService> {
  const folder = host.folderOf('prometheus');
  await mkdir(folder, { recursive: true });
  const { cert, key } = await host.tls.issue('prometheus', 'server');
  const [ca, caFile] = [await host.tls.ca(), host.tls.caFile];
  const password = randomBytes(24).toString('base64url');
  const file = async (name: string, text: string) => {
    const path = join(folder, name);
    await writeFile(path, text, { mode: 0o600 });
    return path;
  };
  const tls = { cert_file: cert, key_file: key };
  const users = { [USERNAME]: await bcrypt.hash(password, BCRYPT_COST) };
  // YAML takes JSON as it is.
  const web = await file('web.json', JSON.stringify({ tls_server_config: tls, basic_auth_users: users }));

  const { api } = await host.withPorts(['api'], async ({ api: port }) => {
    const config = await file('prometheus.json', JSON.stringify(configOf(port, { ca: caFile, password })));
    const address = `127.0.0.1:${port}`;
    await host.start({
      name: 'prometheus',
      args: [
        `--config.file=${config}`,
        `--web.config.file=${web}`,
        `--web.listen-address=${address}`,
        `--storage.tsdb.path=${join(folder, 'data')}`,
        '--log.level=warn',
      ],
      healthy: () => isReady(`https://${address}/-/ready`, { ca, auth: `${USERNAME}:${password}` }),
    });
  });
  return { address: `https://127.0.0.1:${api}`, username: USERNAME, password, ca, caFile };
}

function configOf(port: number, { ca, password }: { ca: string; password: string }): object {
  const labels = { namespace: 'shop', pod: 'checkout-6f7d9c5b8-abcde', customer: 'joe@example.com' };
  return {
    global: { scrape_interval: '1s', scrape_timeout: '1s' },
    scrape_configs: [
      {
        job_name: 'prometheus',
        scheme: 'https',
        tls_config: { ca_file: ca },
        basic_auth: { username: USERNAME, password },
        static_configs: [{ targets: [`127.0.0.1:${port}`], labels }],
      },
    ],
  };
}

function isReady(url: string, options: { ca: string; auth: string }): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { ...options, agent: false, timeout: 2_000 }, (answer) => {
      answer.resume();
      resolve(answer.statusCode === 200);
    });
    outgoing.on('timeout', () => outgoing.destroy());
    outgoing.on('error', reject);
    outgoing.end();
  });
}
