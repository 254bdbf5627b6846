import { fileURLToPath } from 'node:url';
import type { DataConverter } from '@temporalio/common';
import { CompressionCodec } from './compression-codec.ts';

// Given by path, because the workflow bundle carries the module into the sandbox.
const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
const payloadConverterPath = fileURLToPath(new URL(`./payload-converter.${extension}`, import.meta.url));

/** How clients and workers turn values into Temporal's payloads and back. */
export const dataConverter: DataConverter = { payloadConverterPath, payloadCodecs: [new CompressionCodec()] };
