/** What the caller has to change; anything else is a failure. */
export class UsageError extends Error {}

/** Runs a command of this folder. What goes wrong is told in words, without a stack: exit code 2 for wrong usage, 1 for the rest. */
export async function runCommand(name: string, main: (args: readonly string[]) => Promise<void>): Promise<void> {
  try {
    await main(process.argv.slice(2));
  } catch (error) {
    console.error(`${name}: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = error instanceof UsageError ? 2 : 1;
  }
}

/**
 * The one argument that a command takes.
 * @throws {UsageError} where there is none, or more, or an option
 */
export function onlyArgument(args: readonly string[], usage: string): string {
  const [only, ...more] = args;
  if (only === undefined || only === '' || only.startsWith('-') || more.length > 0)
    throw new UsageError(`usage: ${usage}`);
  return only;
}

/** Says of a checkout with changes what is to be known of its image. */
export function warnOfChanges({ isDirty }: { readonly isDirty: boolean }): void {
  if (!isDirty) return;
  console.error('This checkout has changes that are not committed: nobody can make the same image again.');
}
