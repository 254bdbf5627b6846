/**
 * `npx node dev/image/arguments.ts REPOSITORY`: prints the arguments for `podman build` by which the image of this commit
 * is built, the same each time. Tags are VERSION-COMMIT, which is never given to anything else, and VERSION.
 */
import { describeCommit } from './commit.ts';

const repository = process.argv[2];
if (repository === undefined) {
  console.error(
    'usage: npx node dev/image/arguments.ts REPOSITORY, such as registry.example.com/neuralops/byoc-connector',
  );
  process.exit(2);
}
const { version, revision, epoch, tags } = await describeCommit();
const given = { VERSION: version, REVISION: revision, SOURCE_DATE_EPOCH: String(epoch) };
const args = [
  '--file=Containerfile',
  ...Object.entries(given).map(([name, value]) => `--build-arg=${name}=${value}`),
  `--timestamp=${epoch}`,
  ...tags.map((tag) => `--tag=${repository}:${tag}`),
];
console.log(args.join(' '));
