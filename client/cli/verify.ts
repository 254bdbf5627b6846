import type { Command } from 'commander';
import type { Keyless } from '../../activities/sigstore/certificate.ts';
import { isDevelopmentKey } from '../../activities/sigstore/development-keys.ts';
import { parsePublicKeys } from '../../activities/sigstore/keys.ts';
import type { TrustedKey } from '../../activities/sigstore/keys.ts';
import { parseTrustedRoot } from '../../activities/sigstore/trusted-root.ts';
import type { VerifiedSignature } from '../../activities/sigstore/verify-signature.ts';
import { verifyBundle } from '../../activities/sigstore/verify-signature.ts';
import { ConnectorError } from '../../domain/errors.ts';
import { readInput } from './files.ts';
import { markSimulated, print, say } from './output.ts';

/** What is to be verified, and by what; named as `cosign verify-blob` names it. */
export interface VerifyOptions {
  readonly bundle: string;
  readonly key?: readonly string[];
  readonly trustedRoot?: string;
  readonly certificateIdentity?: string;
  readonly certificateOidcIssuer?: string;
}

export function registerVerify(program: Command): void {
  program
    .command('verify')
    .description('verify the signature of any file, as `cosign verify-blob` does, without asking anybody')
    .argument('<payload>', 'the signed file, or - for stdin')
    .requiredOption('--bundle <file>', 'the Sigstore bundle that holds the signature')
    .option('--key <file...>', 'public keys in PEM; one of them must have signed')
    .option(
      '--trusted-root <file>',
      'trusted root of Sigstore (JSON); certificates, log entries and timestamps are verified against it',
    )
    .option(
      '--certificate-identity <identity>',
      'who must have signed, without a key: exactly what the certificate says',
    )
    .option(
      '--certificate-oidc-issuer <url>',
      'who must have vouched for that identity: exactly what the certificate says',
    )
    .addHelpText(
      'after',
      '\nExamples:' +
        '\n  byoc verify --key cosign.pub --bundle app.wpk.sigstore.json app.wpk.json' +
        '\n  byoc verify --trusted-root trusted_root.json --certificate-identity alice@example.com \\' +
        '\n    --certificate-oidc-issuer https://accounts.google.com --bundle app.wpk.sigstore.json app.wpk.json',
    )
    .action(async (payload: string, options: VerifyOptions) => {
      const { fingerprint, keyName, issuer } = await verifyFile(payload, options);
      markSimulated(isDevelopmentKey(fingerprint));
      say('Verified OK');
      print(`${fingerprint} ${keyName}${issuer === undefined ? '' : ` (${issuer})`}`);
    });
}

/** @throws {ConnectorError} USAGE, FILE_UNREADABLE and CONFIG_INVALID (exit 2), and those of `verifyBundle` (exit 1) */
export async function verifyFile(payload: string, options: VerifyOptions): Promise<VerifiedSignature> {
  checkOptions(options);
  const keys: TrustedKey[] = [];
  for (const file of options.key ?? []) keys.push(...parsePublicKeys(await readText(file), file));
  const keyless = await readKeyless(options);
  const bundle = parseBundle(await readText(options.bundle));
  return verifyBundle({
    payload: await readInput(payload),
    bundle,
    keys,
    now: new Date(),
    ...(keyless && { keyless }),
  });
}

function checkOptions({
  key,
  trustedRoot,
  certificateIdentity: identity,
  certificateOidcIssuer: issuer,
}: VerifyOptions) {
  if (key && (identity !== undefined || issuer !== undefined)) {
    throw new ConnectorError('USAGE', 'Either --key or --certificate-identity says who must have signed, not both.');
  }
  if (key) return;
  if (!identity || !issuer) {
    throw new ConnectorError(
      'USAGE',
      'Say who must have signed: --key, or --certificate-identity with --certificate-oidc-issuer.',
    );
  }
  if (!trustedRoot) {
    throw new ConnectorError('USAGE', '--certificate-identity needs --trusted-root: none is fetched from anywhere.');
  }
}

async function readKeyless(options: VerifyOptions): Promise<Keyless | undefined> {
  const { trustedRoot, certificateIdentity: identity, certificateOidcIssuer: issuer } = options;
  if (trustedRoot === undefined) return undefined;
  return {
    trustedRoot: parseTrustedRoot(await readText(trustedRoot), trustedRoot),
    identities: identity === undefined || issuer === undefined ? [] : [{ identity, issuer }],
  };
}

async function readText(file: string): Promise<string> {
  return new TextDecoder().decode(await readInput(file));
}

function parseBundle(text: string): unknown {
  if (text.trim() === '') throw new ConnectorError('BUNDLE_EMPTY');
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new ConnectorError('BUNDLE_MALFORMED', 'It is not JSON.', { cause });
  }
}
