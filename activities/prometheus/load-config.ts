import { readFile } from 'node:fs/promises';
import { parse } from 'yaml';
import { ConnectorError } from '../../domain/errors.ts';
import type { MetricsConfig } from '../../domain/metrics.ts';
import { metricsConfigSchema } from '../../domain/metrics.ts';
import { describeIssue, resolveUnions, toSentence } from '../../domain/schema-sentences.ts';
import { toPointer } from '../../domain/json-pointer.ts';

/**
 * Reads what to ask of Prometheus and what may leave (YAML 1.2); the built-in table where no file is given.
 * @throws {ConnectorError} CONFIG_INVALID, naming the file and all that is wrong in it
 */
export async function loadMetricsConfig(path: string | undefined): Promise<MetricsConfig> {
  if (path === undefined) return metricsConfigSchema.parse({});
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new ConnectorError('CONFIG_INVALID', `${path} cannot be read.`, { cause });
  });
  const parsed = metricsConfigSchema.safeParse(parseYaml(text, path), { error: describeIssue, reportInput: true });
  if (parsed.success) return parsed.data;
  const wrong = resolveUnions(parsed.error.issues).map((one) => `${toPointer(one.path)}: ${toSentence(one.message)}`);
  throw new ConnectorError('CONFIG_INVALID', `${path}: ${wrong.join(' ')}`);
}

function parseYaml(text: string, path: string): unknown {
  try {
    return parse(text, { version: '1.2', maxAliasCount: 0 }) ?? {};
  } catch (cause) {
    throw new ConnectorError('CONFIG_INVALID', `${path} is not YAML.`, { cause });
  }
}
