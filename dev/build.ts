/** `npm run build`: the sources as JavaScript in dist/, and the workflow bundles that workers load in production. */
import { execFileSync } from 'node:child_process';
import { copyFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { bundleWorkflowCode, DefaultLogger } from '@temporalio/worker';

const root = join(import.meta.dirname, '..');
const dist = join(root, 'dist');

await rm(dist, { recursive: true, force: true });
const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc');
execFileSync(process.execPath, [tsc, '-p', join(root, 'tsconfig.build.json')], { stdio: 'inherit' });
await copyFile(join(root, 'dev', 'servers', 'pod-fates.yaml'), join(dist, 'dev', 'servers', 'pod-fates.yaml'));
for (const [workflows, bundle] of [
  ['index', 'workflow-bundle.js'],
  ['scheduled', 'scheduled-bundle.js'],
] as const) {
  const { code } = await bundleWorkflowCode({
    workflowsPath: join(dist, 'workflows', `${workflows}.js`),
    workflowInterceptorModules: [join(dist, 'workflows', 'interceptors.js')],
    payloadConverterPath: join(dist, 'client', 'data-converter', 'payload-converter.js'),
    // Those who execute nothing have no key to encrypt with.
    ...(workflows === 'index' && {
      failureConverterPath: join(dist, 'client', 'data-converter', 'failure-converter.js'),
    }),
    // A worker holds bundle and map in memory for as long as it runs: file and line of a stack are enough to find it.
    webpackConfigHook: (config) => ({ ...config, devtool: 'inline-nosources-cheap-module-source-map' }),
    logger: new DefaultLogger('WARN'),
  });
  await writeFile(join(dist, bundle), inAscii(code));
}

/**
 * One character beyond Latin-1, and V8 keeps the whole text with two bytes for each. An escape means the same in comments,
 * names, strings, untagged templates and regular expressions, unless a backslash stands before it.
 */
function inAscii(code: string): string {
  if (/\\[^\x00-\x7f]|[\u{10000}-\u{10ffff}\xa0\ufeff]/u.test(code))
    throw new Error('the bundle holds what has no escape');
  return code.replace(/[^\x00-\x7f]/g, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
