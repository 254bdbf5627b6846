import { fileURLToPath } from 'node:url';
import type { DataConverter } from '@temporalio/common';
import { CompressionCodec } from './compression-codec.ts';
import type { EncryptionScope } from './encryption-codec.ts';
import { EncryptionCodec } from './encryption-codec.ts';
import type { KeyRing } from './key-ring.ts';

// Given by path, because the workflow bundle carries the modules into the sandbox.
const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
const pathOf = (name: string) => fileURLToPath(new URL(`./${name}.${extension}`, import.meta.url));
const payloadConverterPath = pathOf('payload-converter');
/** For the workflow bundle of those who encrypt. */
export const failureConverterPath = pathOf('failure-converter');

/** How those without a key turn values into Temporal's payloads and back. What is encrypted for others is `Sealed` to them. */
export const dataConverter: DataConverter = { payloadConverterPath, payloadCodecs: [new CompressionCodec()] };

/** The same for those who have the keys: all that they send is encrypted, after it was compressed. */
export function encryptingConverter(keys: KeyRing, scope: EncryptionScope): DataConverter {
  return {
    payloadConverterPath,
    failureConverterPath,
    payloadCodecs: [new CompressionCodec(), new EncryptionCodec(keys, scope)],
  };
}

/** Whether what goes through a converter is encrypted. */
export function encrypts({ payloadCodecs = [] }: Pick<DataConverter, 'payloadCodecs'>): boolean {
  return payloadCodecs.some((codec) => codec instanceof EncryptionCodec);
}
