/**
 * `npx node dev/image/arguments.ts REPOSITORY`: prints the arguments for `podman build` by which the image of this commit
 * is built, the same each time. Tags are VERSION-COMMIT, which is never given to anything else, and VERSION.
 */
import { onlyArgument, runCommand, UsageError, warnOfChanges } from './command.ts';
import { describeCommit } from './commit.ts';

/** Registry, with a port where it has one, and path (https://github.com/distribution/reference). The shell splits what is printed at spaces. */
const REPOSITORY = /^[a-z0-9][-.a-z0-9]*(:\d+)?(\/[a-z0-9]+([-._]+[a-z0-9]+)*)*$/;

await runCommand('dev/image/arguments.ts', async (args) => {
  const example = 'registry.example.com/neuralops/byoc-connector';
  const repository = onlyArgument(args, `npx node dev/image/arguments.ts REPOSITORY, such as ${example}`);
  if (!REPOSITORY.test(repository))
    throw new UsageError(`${repository} is no repository, such as ${example}, without a tag.`);
  const commit = await describeCommit();
  warnOfChanges(commit);
  const { version, revision, epoch, tags } = commit;
  const given = { VERSION: version, REVISION: revision, SOURCE_DATE_EPOCH: String(epoch) };
  const printed = [
    '--file=Containerfile',
    ...Object.entries(given).map(([name, value]) => `--build-arg=${name}=${value}`),
    `--timestamp=${epoch}`,
    ...tags.map((tag) => `--tag=${repository}:${tag}`),
  ];
  console.log(printed.join(' '));
});
