import { readFile } from 'node:fs/promises';
import { TrustedRoot as RootDocument } from '@sigstore/protobuf-specs';
import { toTrustMaterial, VerificationError } from '@sigstore/verify';
import type { TrustMaterial } from '@sigstore/verify';
import { ConnectorError } from '../../domain/errors.ts';

/** The authorities that certificates, log entries and timestamps are verified against. Pinned: none is ever fetched. */
export type TrustedRoot = TrustMaterial;

const MEDIA_TYPE = /^application\/vnd\.dev\.sigstore\.trustedroot(\+json;version=0\.1|\.v0\.2\+json)$/;
const MAX_BYTES = 1_048_576;

/**
 * Reads a trusted root of Sigstore (protobuf-specs `sigstore_trustroot.proto`), as `cosign trusted-root create` writes it.
 * @param name what to call the file in errors
 * @throws {ConnectorError} CONFIG_INVALID
 */
export function parseTrustedRoot(text: string, name: string): TrustedRoot {
  let material: TrustMaterial;
  try {
    const document = RootDocument.fromJSON(JSON.parse(text));
    if (!MEDIA_TYPE.test(document.mediaType)) throw new Error('its mediaType is not that of a trusted root');
    if (!haveStarts(document)) throw new Error('an authority is without the start of its validity');
    material = toTrustMaterial(document, noKey);
  } catch (cause) {
    throw new ConnectorError('CONFIG_INVALID', `${name} is no trusted root of Sigstore.`, { cause });
  }
  const { certificateAuthorities, tlogs, timestampAuthorities } = material;
  if (certificateAuthorities.length + tlogs.length + timestampAuthorities.length === 0) {
    throw new ConnectorError('CONFIG_INVALID', `${name} names no authority at all.`);
  }
  return material;
}

/** @sigstore/verify takes an authority without a start as one that was always valid; nobody meant that. */
function haveStarts({ tlogs, ctlogs, certificateAuthorities, timestampAuthorities }: RootDocument): boolean {
  const logs = [...tlogs, ...ctlogs].map(({ publicKey }) => publicKey?.validFor);
  const authorities = [...certificateAuthorities, ...timestampAuthorities].map(({ validFor }) => validFor);
  return [...logs, ...authorities].every((validFor) => validFor?.start !== undefined);
}

/** @throws {ConnectorError} CONFIG_INVALID, also where the file cannot be read */
export async function readTrustedRoot(path: string): Promise<TrustedRoot> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (cause) {
    throw new ConnectorError('CONFIG_INVALID', `The trusted root ${path} cannot be read.`, { cause });
  }
  if (bytes.length > MAX_BYTES) throw new ConnectorError('CONFIG_INVALID', `${path} is larger than 1 MiB.`);
  return parseTrustedRoot(new TextDecoder().decode(bytes), path);
}

/** A root brings no keys of signers; whoever verifies puts theirs in. */
function noKey(): never {
  throw new VerificationError({ code: 'PUBLIC_KEY_ERROR', message: 'a trusted root has no keys of signers' });
}
