import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { Command } from 'commander';
import { registerCommands } from '../../client/cli/commands.ts';
import { registerStop } from '../../client/cli/stop.ts';

const ROOT = join(import.meta.dirname, '../..');
const PAGES = ['*.md', 'docs/**/*.md', 'helm/**/*.md'].flatMap((pattern) => globSync(pattern, { cwd: ROOT }));

const textOf = (page: string) => readFileSync(join(ROOT, page), 'utf8');
const FENCED = /^ *```[\s\S]*?^ *```/gm;
const prose = (page: string) => textOf(page).replaceAll(FENCED, '');

describe('the documents', () => {
  it('link to what is there: files, and headings in them', () => {
    const broken = PAGES.flatMap((page) =>
      [...prose(page).matchAll(/\]\(([^()\s]+)\)/g)].flatMap(([, target = '']) => {
        if (/^[a-z]+:/.test(target)) return [];
        const [path = '', anchor] = target.split('#');
        const file = path === '' ? page : relative(ROOT, join(ROOT, dirname(page), path));
        if (!existsSync(join(ROOT, file))) return [`${page}: ${target}`];
        return anchor === undefined || anchorsOf(file).has(anchor) ? [] : [`${page}: ${target}, no such heading`];
      }),
    );
    expect(broken).toEqual([]);
  });

  it('start Node.js through npm: the one of the machine may be too old', () => {
    const bare = PAGES.flatMap((page) =>
      [...textOf(page).matchAll(/^.*(?<!npx )\bnode [\w.-]+\/[\w./-]+\.[jt]s\b.*$/gm)].map(
        ([line]) => `${page}: ${line}`,
      ),
    );
    expect(bare).toEqual([]);
  });

  it('name commands of byoc and options that there are', () => {
    expect(commandsIn('`kubectl -n N exec POD -- byoc audit export -o json DIR`')).toEqual([
      ['audit', 'export', '-o', 'json', 'DIR'],
    ]);
    expect(problemOf(['audit', 'export', '-o', 'json', 'DIR'])).toBeDefined();
    expect(PAGES.flatMap((page) => commandsIn(textOf(page))).length).toBeGreaterThan(150);
    for (const made of [['audit', 'forge'], ['list', '--al'], ['frobnicate']]) expect(problemOf(made)).toBeDefined();
    const wrong = PAGES.flatMap((page) =>
      commandsIn(textOf(page)).flatMap((words) => {
        const problem = problemOf(words);
        return problem === undefined ? [] : [`${page}: byoc ${words.join(' ')}: ${problem}`];
      }),
    );
    expect(wrong).toEqual([]);
  });

  it('tell of each requirement once, and name code and tests that are there', () => {
    const rows = textOf('docs/requirements.md')
      .split('\n')
      .flatMap((line) => (/^\| R\d+ \|/.test(line) ? [line.split(/(?<!\\)\|/).slice(1, -1)] : []));
    expect(rows.map(([number = '']) => number.trim())).toEqual(Array.from({ length: 38 }, (_, at) => `R${at + 1}`));
    const missing = rows.flatMap(([number, , , code = '', proof = '']) =>
      [code, proof].flatMap((cell) => {
        const [first = '', ...more] = [...cell.matchAll(/`(?!npm )([\w./*-]+)`|\]\(([\w-]+\.md)\)/g)].map(
          ([, path = '', page]) => (page ? `docs/${page}` : path),
        );
        const paths = more.reduce((all, path) => [...all, besides(path, all.at(-1) ?? '')], [first]);
        if (paths[0] === '' && !cell.includes('npm run bench')) return [`${number}: nothing is named`];
        return paths.filter((path) => path !== '' && !isThere(path)).map((path) => `${number}: ${path}`);
      }),
    );
    expect(missing).toEqual([]);
    expect(isThere('test/whole/no-such-test')).toBe(false);
  });

  it('are found from others: no page lies alone', () => {
    const linked = new Set(
      PAGES.flatMap((page) =>
        [...prose(page).matchAll(/\]\(([^()\s#]+)/g)].map(([, target = '']) =>
          relative(ROOT, join(ROOT, dirname(page), target)),
        ),
      ),
    );
    expect(PAGES.filter((page) => page.startsWith('docs/') && !linked.has(page))).toEqual([]);
  });
});

/** A path, or a name in the folder of the path before it. */
function besides(path: string, before: string): string {
  if (path.includes('/')) return path;
  const isFolder = existsSync(join(ROOT, before)) && !/\.\w+$/.test(before);
  return join(isFolder ? before : dirname(before), path);
}

/** A file or folder, or what a test's file begins with. */
function isThere(path: string): boolean {
  return globSync([path, `${path}.ts`, `${path}.test.ts`], { cwd: ROOT }).length > 0;
}

/** The anchors of a page as GitHub makes them of its headings. */
function anchorsOf(file: string): ReadonlySet<string> {
  const anchors = new Set<string>();
  for (const [, heading = ''] of prose(file).matchAll(/^#{1,6} (.+)$/gm)) {
    const slug = heading
      .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\-_ ]/gu, '')
      .replaceAll(' ', '-');
    let name = slug;
    for (let n = 1; anchors.has(name); n++) name = `${slug}-${n}`;
    anchors.add(name);
  }
  return anchors;
}

/** What follows `byoc`, in words: of blocks of shell, and of code within sentences; in a pod (`kubectl exec … -- byoc`) as well. */
function commandsIn(text: string): string[][] {
  const blocks = [...text.matchAll(/^ *```(?:sh|bash)\b.*\n([\s\S]*?)^ *```/gm)].map(([, block = '']) => block);
  const inline = [...text.replaceAll(FENCED, '').matchAll(/`([^`]+)`/g)].map(([, code = '']) => code);
  return [...blocks, ...inline].flatMap((code) =>
    code
      .replaceAll(/\\\n/g, ' ')
      .replaceAll(/'[^']*'|"[^"]*"/g, 'TEXT')
      .split(/\n|&&|\|\||[|;]|\$\(/)
      .flatMap((line) => {
        const [, words] =
          /^\s*(?:\w+=\S*\s+)*(?:kubectl\s.*\s--\s+)?(?:npm run -s byoc --|byoc)\s+(.*)$/.exec(
            line.replace(/\s#.*$/, ''),
          ) ?? [];
        return words === undefined ? [] : [words.replaceAll(/[)`]/g, ' ').trim().split(/\s+/)];
      }),
  );
}

function problemOf(words: readonly string[]): string | undefined {
  let command = program();
  for (const word of words) {
    if (/^[>2&]|^\.\.\.|…/.test(word)) return undefined; // a redirection, or something left out
    if (word.startsWith('-')) {
      const [flag = ''] = word.split('=');
      if (flag === '--help' || flag === '--version' || /^-\d|^-$/.test(flag)) continue;
      if (!command.options.some(({ long, short }) => long === flag || short === flag)) return `no option ${flag}`;
      continue;
    }
    const next = command.commands.find((one) => one.name() === word);
    if (next) command = next;
    else if (command.commands.length > 0 && /^[a-z-]+$/.test(word)) return `no command ${word}`;
  }
  return undefined;
}

function program(): Command {
  const byoc = new Command('byoc');
  registerStop(byoc);
  registerCommands(byoc);
  return byoc;
}
