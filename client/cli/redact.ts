import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { Option } from 'commander';
import { createKeyedHash } from '../../activities/redact/keyed-hash.ts';
import { ConnectorError } from '../../domain/errors.ts';
import type { RedactionPolicy } from '../../domain/redact/kinds.ts';
import { KINDS, redactionPolicySchema } from '../../domain/redact/kinds.ts';
import type { Counts } from '../../domain/redact/redactor.ts';
import { createRedactor } from '../../domain/redact/redactor.ts';
import { RedactionStream } from '../../domain/redact/stream.ts';
import { columns, say } from './output.ts';

interface RedactOptions {
  readonly privateIps: RedactionPolicy['privateIps'];
  readonly keyFile?: string;
  readonly phoneCountries?: string;
  readonly report?: true | 'json';
}

/** What can be guessed is no key. */
const MIN_KEY_BYTES = 32;

/** `byoc redact`: a filter for logs and for what one sends to others. */
export function registerRedact(program: Command): void {
  program
    .command('redact')
    .description('copies stdin to stdout without personal data and secrets')
    .option('--key-file <file>', 'hash with this key (32 random bytes or more), so that equal values can be joined')
    .addOption(
      new Option('--private-ips <mode>', 'what becomes of addresses of private ranges')
        .choices(['mask', 'hash', 'keep'])
        .default('mask'),
    )
    .option('--phone-countries <codes>', 'whose numbers count where only the country tells, such as US,DE', 'US')
    .addOption(new Option('--report [format]', 'say on stderr what was found').choices(['table', 'json']))
    .addHelpText(
      'after',
      '\nE-mail, phone, card, IBAN, SSN and IP addresses; JWTs, bearer tokens, cloud and private keys, passwords.' +
        '\nNames of people and postal addresses are not recognised: docs/redaction.md.' +
        '\n\nExamples:\n  kubectl logs deploy/shop | byoc redact --report > shop.log' +
        '\n  head -c 32 /dev/urandom > key && byoc redact --key-file key --private-ips keep < app.log',
    )
    .action(async (options: RedactOptions) => {
      const counts = await redactStdin(options);
      if (options.report === 'json') say(JSON.stringify(counts));
      else if (options.report) for (const line of reportLines(counts)) say(line);
    });
}

async function redactStdin(options: RedactOptions): Promise<Counts> {
  const key = options.keyFile === undefined ? undefined : await readKey(options.keyFile);
  const stream = new RedactionStream(createRedactor(policyOf(options), key && createKeyedHash(key)));
  const decoder = new TextDecoder(undefined, { ignoreBOM: true });
  for await (const chunk of process.stdin) await write(stream.push(decoder.decode(chunk as Buffer, { stream: true })));
  await write(stream.push(decoder.decode()) + stream.end());
  return stream.counts;
}

function policyOf({ privateIps, phoneCountries = '' }: RedactOptions): RedactionPolicy {
  const countries = phoneCountries.split(',').filter(Boolean);
  const parsed = redactionPolicySchema.safeParse({ privateIps, phoneCountries: countries });
  if (parsed.success) return parsed.data;
  throw new ConnectorError(
    'USAGE',
    `--phone-countries: ${parsed.error.issues.map(({ message }) => message).join('; ')}.`,
  );
}

async function readKey(file: string): Promise<Uint8Array> {
  const key = await readFile(file).catch((cause: unknown) => {
    throw new ConnectorError('FILE_UNREADABLE', `${file} cannot be read.`, { cause });
  });
  if (key.length >= MIN_KEY_BYTES) return key;
  throw new ConnectorError('USAGE', `${file} holds fewer than ${MIN_KEY_BYTES} bytes; such a key can be guessed.`);
}

/** Waits where the reader is slower than we are, so that memory stays bounded. */
async function write(text: string): Promise<void> {
  if (text === '' || process.stdout.write(text)) return;
  await new Promise((resolve) => process.stdout.once('drain', resolve));
}

function reportLines(counts: Counts): string[] {
  const found = KINDS.flatMap((kind) => (counts[kind] === undefined ? [] : [[kind, String(counts[kind])]]));
  return found.length === 0 ? ['nothing found'] : columns([['KIND', 'REDACTED'], ...found]);
}
