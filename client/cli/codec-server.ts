import type { Command } from 'commander';
import { say } from './output.ts';
import type { ClusterOptions } from './settings.ts';
import { clusterOf, withCluster } from './settings.ts';

interface CodecServerOptions extends ClusterOptions {
  readonly port?: string;
}

/** `byoc codec-server`: shows what is encrypted in Temporal to those who may see it. */
export function registerCodecServer(program: Command): void {
  withCluster(program.command('codec-server'))
    .description('decrypt payloads for the Temporal UI and the temporal command, for those who may see them')
    .option('--port <n>', 'where it listens; BYOC_CODEC_PORT, 8006')
    .addHelpText(
      'after',
      '\nExamples:\n  byoc codec-server --cluster prod-eu-1' +
        '\n  temporal workflow show --workflow-id wpk/prod-eu-1/01JD0000000000000000000000 --codec-endpoint http://127.0.0.1:8006' +
        '\n\nThe keys are read from Vault, with VAULT_ADDR and VAULT_TOKEN or an AppRole. All settings: docs/data-protection.md.',
    )
    .action(async ({ port, ...options }: CodecServerOptions) => {
      const cluster = clusterOf(options);
      // Loaded here, because the other commands need none of it.
      const [
        { openCodecServer },
        { readCodecServerConfig },
        { createLogger },
        { unknownSettings },
        { usableTlsFiles },
      ] = await Promise.all([
        import('../../worker/codec-server/codec-server.ts'),
        import('../../worker/codec-server/settings.ts'),
        import('../../worker/logging.ts'),
        import('../../worker/settings/unknown.ts'),
        import('../../activities/tls/usable-files.ts'),
      ]);
      const env = {
        ...process.env,
        BYOC_CLUSTER_ID: cluster,
        ...(port !== undefined && { BYOC_CODEC_PORT: port }),
      };
      const logger = createLogger('info', { cluster });
      for (const { says } of unknownSettings(env)) logger.warn(says);
      const config = readCodecServerConfig(env);
      await Promise.all([usableTlsFiles(env, 'vault'), usableTlsFiles(env, 'reader-keys')]);
      const server = await openCodecServer(config, env, logger);
      say(`Listening at ${server.url}; the audit log has who looks. It ends with Ctrl-C.`);
      await ended();
      say('Closing: calls under way come to their end.');
      await server.close();
    });
}

/** Resolves when somebody wants the server to end; whoever says so twice does not want to wait. */
function ended(): Promise<void> {
  return new Promise((resolve) => {
    process.removeAllListeners('SIGINT');
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.once(signal, () => {
        process.once(signal, () => process.exit(130));
        resolve();
      });
    }
  });
}
