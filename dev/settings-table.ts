import type { SettingRow } from '../worker/settings/catalogue.ts';
import { PROGRAMS, settingGroups } from '../worker/settings/catalogue.ts';
import { PARTS } from './parts.ts';

/** The page that people read; between the marks it is made from the catalogue, around them it is written by hand. */
export const SETTINGS_PAGE = new URL('../docs/settings.md', import.meta.url);

const BEGIN = '<!-- Made from worker/settings/catalogue.ts by dev/generate-schema.ts: change it there. -->';
const END = '<!-- The end of what is made. -->';

/** @returns the page with the table as the code has it */
export function withSettingsTable(page: string): string {
  const [before, rest] = page.split(BEGIN);
  const [, after] = rest?.split(END) ?? [];
  if (before === undefined || after === undefined) throw new Error('docs/settings.md has lost the marks of its table.');
  return `${before}${BEGIN}\n\n${settingsTable()}\n\n${END}${after}`;
}

function settingsTable(): string {
  const lines = settingGroups().flatMap(({ title, rows }) => [
    `| **${title}** | | | |`,
    ...rows.map((row) => lineOf(row.names.includes(PROGRAMS) ? { ...row, names: programs() } : row)),
  ]);
  return ['| variable | needed | meaning | where left out |', '|---|---|---|---|', ...lines].join('\n');
}

function lineOf({ names, needed = 'no', means, otherwise = '', default: given }: SettingRow): string {
  const left = given === undefined ? otherwise : `\`${given}\``;
  return `| ${[names.map((name) => `\`${name}\``).join(', '), needed, means, left].join(' | ')} |`;
}

function programs(): string[] {
  return Object.values(PARTS).map(({ env }) => env);
}
