import { createInterface } from 'node:readline';

/**
 * Asks on the terminal; anything but yes is a no, the end of the input (^D) too.
 * @param question is shown on stderr, as it is
 */
export async function confirm(question: string): Promise<boolean> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  // A terminal that readline reads makes a key of ^C; whoever listens for the signal gets it all the same.
  terminal.once('SIGINT', () => {
    process.stderr.write('\n');
    process.kill(process.pid, 'SIGINT');
  });
  try {
    const answer = await new Promise<string | undefined>((resolve) => {
      terminal.once('close', () => resolve(undefined));
      terminal.question(`${question} [y/N] `, resolve);
    });
    if (answer === undefined) process.stderr.write('\n'); // the cursor still stands behind the question
    return answer !== undefined && /^y(es)?$/i.test(answer.trim());
  } finally {
    terminal.close();
  }
}
