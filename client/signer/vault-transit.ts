import { createPublicKey, hash, verify } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { Agent, request } from 'undici';
import { z } from 'zod';
import { ConnectorError } from '../../domain/errors.ts';
import { isEncryptedOrLocal } from '../../domain/encrypted-or-local.ts';
import { TRANSIT_MOUNT } from '../../domain/vault-setup.ts';
import type { TlsFiles } from '../../domain/tls-settings.ts';
import { refuseUnverified, TLS_SETTINGS, tlsFilesOf } from '../../domain/tls-settings.ts';
import { whyUnreadable } from '../../domain/why-unreadable.ts';
import type { Signer, SignerEnv } from '../signer.ts';
import { traitsOf } from './local-key.ts';

const REQUEST_TIMEOUT_MS = 5_000;

/** What the transit engine says of a key; other kinds of keys have no `public_key`. */
const keySchema = z.object({
  data: z.object({
    latest_version: z.int(),
    keys: z.record(z.string(), z.looseObject({ public_key: z.string().optional() }).or(z.number())),
  }),
});
const signatureSchema = z.object({
  data: z.object({ signature: z.string().regex(/^vault:v\d+:[A-Za-z0-9+/]+={0,2}$/) }),
});

interface Transit {
  readonly address: string;
  readonly token: string;
  readonly mount: string;
  readonly agent: Agent;
}

/**
 * Signs with a key in the transit engine of Vault (or OpenBao), which the private key never leaves.
 * @param name the key's name
 * @param env VAULT_ADDR, VAULT_TOKEN, VAULT_CACERT, and TRANSIT_SECRET_ENGINE_PATH, as cosign has them
 * @throws {ConnectorError} CONFIG_INVALID, FILE_UNREADABLE, KEY_UNSUPPORTED, VAULT_UNAVAILABLE; none holds the token
 */
export async function openTransitKey(name: string, env: SignerEnv): Promise<Signer> {
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(name)) {
    throw new ConnectorError('CONFIG_INVALID', 'hashivault:// must be followed by the name of a key.');
  }
  const transit = await transitOf(env);
  const { data } = await ask(transit, 'GET', `keys/${name}`, undefined, keySchema);
  // With the version in each request, a rotation in between cannot make key and signature differ.
  const version = data.latest_version;
  const { digest, publicKeyPem, fingerprint } = traitsOf(publicKeyOf(data.keys[version]));
  return {
    publicKeyPem,
    fingerprint,
    async sign(bytes) {
      const answer = await ask(
        transit,
        'POST',
        `sign/${name}`,
        {
          input: hash(digest.openssl, bytes, 'base64'),
          prehashed: true,
          hash_algorithm: digest.vault,
          marshaling_algorithm: 'asn1',
          key_version: version,
        },
        signatureSchema,
      );
      const signature = Buffer.from(answer.data.signature.split(':')[2] ?? '', 'base64');
      if (!verify(digest.openssl, bytes, publicKeyPem, signature)) {
        throw new ConnectorError('VAULT_UNAVAILABLE', 'What it answered is not a signature by this key.');
      }
      return signature;
    },
  };
}

async function transitOf(env: SignerEnv): Promise<Transit> {
  const { VAULT_ADDR: address, VAULT_TOKEN: token, TRANSIT_SECRET_ENGINE_PATH: mount } = env;
  refuseUnverified(env);
  if (!address || !isEncryptedOrLocal(address)) {
    throw new ConnectorError('CONFIG_INVALID', 'VAULT_ADDR must be an https address, except on this machine.');
  }
  if (!token) throw new ConnectorError('CONFIG_INVALID', 'VAULT_TOKEN is missing.');
  const agent = new Agent({ connect: await readTls(env), keepAliveTimeout: 100 });
  return { address, token, mount: (mount || TRANSIT_MOUNT).replace(/^\/+|\/+$/g, ''), agent };
}

/** Once: whoever signs is done in a moment. */
async function readTls(env: SignerEnv): Promise<Record<string, string>> {
  const files = Object.entries(tlsFilesOf(env, 'vault')) as [keyof TlsFiles, string][];
  const read = files.map(async ([which, path]) => {
    const text = await readFile(path, 'utf8').catch((cause: unknown) => {
      const text = `${TLS_SETTINGS.vault[which]} names ${path}: ${whyUnreadable(cause)}.`;
      throw new ConnectorError('CONFIG_INVALID', text, { cause });
    });
    return [which, text] as const;
  });
  return Object.fromEntries(await Promise.all(read));
}

function publicKeyOf(version: z.infer<typeof keySchema>['data']['keys'][string] | undefined) {
  const pem = typeof version === 'object' ? version.public_key : undefined;
  try {
    if (pem) return createPublicKey(pem);
  } catch {
    // Said below, as for a key without a public half.
  }
  throw new ConnectorError('KEY_UNSUPPORTED', 'ECDSA on P-256 or P-384 is accepted.');
}

async function ask<Answer>(
  { address, token, mount, agent }: Transit,
  method: 'GET' | 'POST',
  path: string,
  body: unknown,
  schema: z.ZodType<Answer>,
): Promise<Answer> {
  let status: number | undefined;
  try {
    // undici follows no redirect: the token goes to no other host.
    const answer = await request(new URL(`/v1/${mount}/${path}`, address), {
      dispatcher: agent,
      method,
      headers: { 'x-vault-token': token, 'content-type': 'application/json' },
      body: body === undefined ? null : JSON.stringify(body),
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    });
    status = answer.statusCode;
    const text = await answer.body.text();
    if (status === 200) return schema.parse(JSON.parse(text));
  } catch (error) {
    // Only the kind of error: the rest of it may hold requests and answers.
    const cause = new Error(error instanceof Error ? error.name : 'no error');
    throw unavailable(path, status === undefined ? 'no answer' : 'an answer that is not understood', cause);
  }
  if (status === 404) {
    const key = path.replace(/^\w+\//, '');
    throw new ConnectorError('CONFIG_INVALID', `Vault has no key ${key} in its transit engine at ${mount}/.`);
  }
  throw unavailable(path, status === 403 ? 'it denied access' : `it answered ${status}`);
}

function unavailable(path: string, said: string, cause?: Error): ConnectorError {
  return new ConnectorError('VAULT_UNAVAILABLE', `Transit, ${path}: ${said}.`, { cause });
}
