import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { CommandResult, TestConnector } from './connector.ts';
import { tool } from './tools.ts';

/** Commands of a page of docs/, as somebody on call would paste them: one fenced block of `sh`. */
export interface CommandBlock {
  /** The heading that it stands under. */
  readonly heading: string;
  readonly text: string;
  /** Of the line of the fence, from 1. */
  readonly line: number;
  /** Marked by `sh not-run`: needs what is not there in tests, and the page says so. */
  readonly isRun: boolean;
}

const FENCE = /^ *```(\S*) ?(.*)$/;

/** The blocks of commands of a text in Markdown, in their order. */
export function commandBlocks(markdown: string): CommandBlock[] {
  const blocks: CommandBlock[] = [];
  let heading = '';
  let open: { language: string; info: string; line: number; lines: string[] } | undefined;
  for (const [index, line] of markdown.split('\n').entries()) {
    const fence = FENCE.exec(line);
    if (fence && open) {
      const { language, info, lines } = open;
      if (language === 'sh')
        blocks.push({ heading, text: lines.join('\n'), line: open.line, isRun: info !== 'not-run' });
      open = undefined;
    } else if (fence) {
      open = { language: fence[1] ?? '', info: fence[2] ?? '', line: index + 1, lines: [] };
    } else if (open) {
      open.lines.push(line);
    } else if (line.startsWith('#')) {
      heading = line.replace(/^#+ /, '');
    }
  }
  return blocks;
}

/** The text of a page of docs/. */
export function readPage(name: string): Promise<string> {
  return readFile(join(import.meta.dirname, '../../docs', name), 'utf8');
}

/** Where the commands of a page are run, one block after the other, as in one terminal. */
export class Terminal {
  readonly folder: string;
  readonly #connector: TestConnector;
  readonly #variables: Record<string, string>;

  private constructor(connector: TestConnector, folder: string, variables: Record<string, string>) {
    this.#connector = connector;
    this.folder = folder;
    this.#variables = variables;
  }

  /** @param variables what the page asks to be set first */
  static async open(connector: TestConnector, variables: Record<string, string>): Promise<Terminal> {
    const folder = join(connector.prepared.folder, 'terminal');
    const bin = join(folder, 'bin');
    await mkdir(bin, { recursive: true });
    const { services } = connector;
    const byoc = `${process.execPath} ${join(import.meta.dirname, '../../client/cli/main.ts')}`;
    // OpenBao's command is Vault's.
    const programs = { byoc, kubectl: services.kubernetes.kubectl, vault: services.vault.bin };
    const more = { temporal: services.temporal.bin, helm: await tool('helm') };
    for (const [name, command] of Object.entries({ ...programs, ...more })) {
      await writeFile(join(bin, name), `#!/bin/sh\nexec ${command} "$@"\n`, { mode: 0o755 });
    }
    return new Terminal(connector, folder, variables);
  }

  set(variables: Record<string, string>): void {
    Object.assign(this.#variables, variables);
  }

  async run(text: string): Promise<CommandResult> {
    return this.#connector.shell(
      `cd ${this.folder} && unset BYOC_CLUSTER_ID && PATH=${this.folder}/bin:$PATH exec bash --norc -euo pipefail -c "$COMMANDS"`,
      { ...this.#variables, COMMANDS: text },
    );
  }

  /**
   * Runs what stands under a heading; resolves to what was said, and rejects where a command fails.
   */
  async follow(blocks: readonly CommandBlock[], heading: string): Promise<string> {
    const own = blocks.filter((block) => block.heading === heading && block.isRun);
    if (own.length === 0) throw new Error(`There is no command under "${heading}".`);
    let said = '';
    for (const block of own) said += await this.followOne(block);
    return said;
  }

  /** The same of one block. */
  async followOne({ text, line, heading }: CommandBlock): Promise<string> {
    const { code, stdout, stderr } = await this.run(text);
    if (code !== 0) throw new Error(`line ${line} under "${heading}" ended with ${code}: ${stdout}\n${stderr}`);
    return stdout;
  }
}
