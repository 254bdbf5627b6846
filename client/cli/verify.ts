import type { Command } from 'commander';
import { parsePublicKeys } from '../../activities/sigstore/keys.ts';
import type { TrustedKey } from '../../activities/sigstore/keys.ts';
import type { VerifiedSignature } from '../../activities/sigstore/verify-signature.ts';
import { verifyBundle } from '../../activities/sigstore/verify-signature.ts';
import { ConnectorError } from '../../domain/errors.ts';
import { readInput } from './files.ts';
import { print, say } from './output.ts';

export function registerVerify(program: Command): void {
  program
    .command('verify')
    .description('verify the signature of any file, as `cosign verify-blob --key` does')
    .argument('<payload>', 'the signed file, or - for stdin')
    .requiredOption('--key <file...>', 'public keys in PEM; one of them must have signed')
    .requiredOption('--bundle <file>', 'the Sigstore bundle that holds the signature')
    .addHelpText('after', '\nExample:\n  byoc verify --key cosign.pub --bundle app.wpk.sigstore.json app.wpk.json')
    .action(async (payload: string, options: { key: string[]; bundle: string }) => {
      const signature = await verifyFile(payload, options);
      say('Verified OK');
      print(`${signature.fingerprint} ${signature.keyName}`);
    });
}

/** @throws {ConnectorError} FILE_UNREADABLE and CONFIG_INVALID (exit 2), and those of `verifyBundle` (exit 1) */
export async function verifyFile(
  payload: string,
  { key, bundle }: { readonly key: readonly string[]; readonly bundle: string },
): Promise<VerifiedSignature> {
  const keys: TrustedKey[] = [];
  for (const file of key) keys.push(...parsePublicKeys(new TextDecoder().decode(await readInput(file)), file));
  const bundleText = new TextDecoder().decode(await readInput(bundle));
  return verifyBundle({ payload: await readInput(payload), bundle: parseBundle(bundleText), keys, now: new Date() });
}

function parseBundle(text: string): unknown {
  if (text.trim() === '') throw new ConnectorError('BUNDLE_EMPTY');
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new ConnectorError('BUNDLE_MALFORMED', 'It is not JSON.', { cause });
  }
}
