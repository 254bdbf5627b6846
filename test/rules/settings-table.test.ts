import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import ts from 'typescript';
import { SETTINGS_PAGE, withSettingsTable } from '../../dev/settings-table.ts';
import { PARTS } from '../../dev/parts.ts';
import { unverifiedBy } from '../../domain/tls-settings.ts';
import { knownSettings, settingGroups, workerSettingNames } from '../../worker/settings/catalogue.ts';

// R29

const ROOT = join(import.meta.dirname, '../..');
const textOf = (file: string) => readFileSync(join(ROOT, file), 'utf8');
const filesIn = (...patterns: string[]) => patterns.flatMap((pattern) => globSync(pattern, { cwd: ROOT })).sort();

const { names, families } = knownSettings();
const isKnown = (name: string) => names.includes(name) || families.some((family) => family.test(name));
const rows = settingGroups().flatMap((group) => group.rows);

/** What every program finds in its environment, and what belongs to Node, npm and terminals. */
const OF_THE_MACHINE = /^(HOME|PATH|TMPDIR|NO_COLOR|NODE_TLS_REJECT_UNAUTHORIZED|npm_lifecycle_event)$/;

/** Where settings are declared: a name that stands only there is read nowhere. */
const DECLARED = [
  ...['worker/settings/worker-settings.ts', 'worker/settings/catalogue.ts', 'worker/settings/unknown.ts'],
];
const SOURCES = filesIn('{domain,workflows,activities,client,worker}/**/*.ts');
const DEVELOPMENT = filesIn('{dev,test,bench}/**/*.ts');

describe('the table in docs/settings.md', () => {
  it('is the one that the code makes; if not: node dev/generate-schema.ts', () => {
    const page = readFileSync(SETTINGS_PAGE, 'utf8');
    expect(page).toBe(withSettingsTable(page));
  });

  it('has each setting once, in a sentence, with a default from the code or words for it, never both', () => {
    const all = rows.flatMap((row) => row.names);
    expect(all.filter((name, at) => all.indexOf(name) !== at)).toEqual([]);
    expect(all.length).toBeGreaterThan(100);
    for (const row of rows) {
      expect(row.means).toMatch(/\w.*[^.]$/);
      expect([row.default, row.otherwise].filter(Boolean).length).toBeLessThan(2);
    }
    const shown = readFileSync(SETTINGS_PAGE, 'utf8');
    for (const { env } of Object.values(PARTS)) expect(shown).toContain(`\`${env}\``);
  });

  it('shows the defaults that the worker takes', () => {
    const defaults = Object.fromEntries(rows.flatMap((row) => (row.default ? [[row.names[0], row.default]] : [])));
    expect(defaults).toMatchObject({ BYOC_AGENT_RATE: '60', BYOC_AUDIT_LOCAL_DAYS: '90', LOG_LEVEL: 'info' });
    expect(defaults).toMatchObject({ TEMPORAL_ADDRESS: 'localhost:7233', BYOC_STATE_NAMESPACE: 'byoc-system' });
  });
});

describe('every environment variable', () => {
  it('that code reads is in the table', () => {
    const read = [...SOURCES, ...DEVELOPMENT].flatMap((file) => readsIn(file).map((name) => ({ file, name })));
    expect(read.length).toBeGreaterThan(60);
    const unknown = read.filter(({ name, file }) => isOurs(name, file) && !isKnown(name));
    expect(unknown).toEqual([]);
  });

  it('that is named in a schema or as a whole text is in the table', () => {
    const named = SOURCES.flatMap((file) => namedIn(file).map((name) => ({ file, name })));
    expect(named.filter(({ name }) => /^BYOC_[A-Z0-9_]*[A-Z0-9]$/.test(name) && !isKnown(name))).toEqual([]);
  });

  it('of the table is read: by code of ours, or by the library that is named', () => {
    const used = new Set([...SOURCES, ...DEVELOPMENT].filter((file) => !DECLARED.includes(file)).flatMap(usesIn));
    const unread = rows.flatMap(({ names: ofRow, library }) =>
      ofRow.filter((name) => !(library === undefined ? used.has(name) || name.includes('…') : isReadBy(library, name))),
    );
    expect(unread).toEqual([]);
  });

  it('that the chart sets, or the image, is known', () => {
    // What is below tests/ is a pod of its own, with a script of its own.
    const templates = filesIn('helm/connector/templates/*.{yaml,tpl}');
    const set = [...templates, 'Containerfile'].flatMap((file) => setIn(textOf(file)).map((name) => ({ file, name })));
    expect(set.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['BYOC_DATA_DIR', 'BYOC_CODEC_PORT', 'BYOC_PROM_CA', 'AWS_ACCESS_KEY_ID', 'SIMULATION']),
    );
    const runtime = /^(HOME|PATH|NODE_OPTIONS|UV_THREADPOOL_SIZE|TOKIO_WORKER_THREADS|MALLOC_[A-Z_]+)$/;
    // The chart names those that it refuses, too.
    const isRefused = (name: string) => unverifiedBy({ [name]: '0' }).length + unverifiedBy({ [name]: '1' }).length > 0;
    expect(set.filter(({ name }) => !runtime.test(name) && !isRefused(name) && !isKnown(name))).toEqual([]);
  });

  it('of ours that a document or the chart names is in the table', () => {
    const documents = filesIn('*.md', 'docs/**/*.{md,yaml}', 'helm/**/*.{md,yaml,tpl,txt}').filter(
      (file) => file !== 'CHANGELOG.md',
    );
    const told = documents.flatMap((file) =>
      [...textOf(file).matchAll(/\bBYOC_[A-Z0-9_]*[A-Z0-9]\b(?![…_*])/g)].map(([name]) => ({ file, name })),
    );
    expect(told.length).toBeGreaterThan(150);
    expect(told.filter(({ name }) => !isKnown(name))).toEqual([]);
  });

  it('of a worker is one of the table', () => {
    expect(workerSettingNames().filter((name) => !isKnown(name))).toEqual([]);
  });
});

/** In dev, test and bench programs are given variables of their own (`PORT`, `TLS_CERT`): there only ours count. */
function isOurs(name: string, file: string): boolean {
  if (OF_THE_MACHINE.test(name)) return false;
  return /^(dev|test|bench)\//.test(file) ? name.startsWith('BYOC_') : true;
}

const NAME = /^[A-Z][A-Z0-9]*(_[A-Z0-9]+)+$|^(SIMULATION|KUBECONFIG)$/;
const trees = new Map<string, ts.SourceFile>();

function treeOf(file: string): ts.SourceFile {
  const known = trees.get(file) ?? ts.createSourceFile(file, textOf(file), ts.ScriptTarget.Latest, true);
  trees.set(file, known);
  return known;
}

function collect(file: string, look: (node: ts.Node) => readonly (string | undefined)[]): string[] {
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    found.push(...look(node).filter((name) => name !== undefined));
    node.forEachChild(visit);
  };
  visit(treeOf(file));
  return found;
}

/** Looked up in an environment: `env['X']`, `process.env.X`, `const { X } = env`, and options of commands with `.env('X')`. */
function readsIn(file: string): string[] {
  const isEnvironment = (node: ts.Node | undefined) =>
    node !== undefined && /(^|\.)(env|given|environment)$/.test(node.getText());
  return collect(file, (node) => {
    if (ts.isElementAccessExpression(node) && isEnvironment(node.expression))
      return [literalIn(node.argumentExpression)];
    if (ts.isPropertyAccessExpression(node) && isEnvironment(node.expression)) {
      return NAME.test(node.name.text) ? [node.name.text] : [];
    }
    if (ts.isCallExpression(node) && /\.env$/.test(node.expression.getText())) return [literalIn(node.arguments[0])];
    if (!ts.isObjectBindingPattern(node)) return [];
    const { parent } = node;
    const isOne = ts.isParameter(parent) && /ProcessEnv|Environment/.test(parent.type?.getText() ?? '');
    return isOne || isEnvironment(parent.initializer) ? namesOf(node) : [];
  });
}

function namesOf(pattern: ts.ObjectBindingPattern): string[] {
  return pattern.elements.map(({ propertyName, name }) => (propertyName ?? name).getText());
}

/** Keys of objects, and texts that are nothing but a name: schemas, and tables of names. */
function namedIn(file: string): string[] {
  return collect(file, (node) => {
    if (ts.isPropertyAssignment(node)) return [node.name.getText()];
    return [textIn(node)];
  });
}

/** Used in any way but as the key of something that is made, or as the one that a rule names. */
function usesIn(file: string): string[] {
  return collect(file, (node) => {
    if (ts.isPropertyAccessExpression(node)) return [node.name.text];
    if (ts.isObjectBindingPattern(node)) return namesOf(node);
    const isRule = ts.isPropertyAssignment(node.parent ?? node) && /^setting:/.test(node.parent.getText());
    return isRule ? [] : [textIn(node)];
  }).filter((name) => NAME.test(name));
}

function literalIn(node: ts.Node | undefined): string | undefined {
  return node !== undefined && ts.isStringLiteralLike(node) ? node.text : undefined;
}

/** A text that is nothing but a name. */
function textIn(node: ts.Node): string | undefined {
  const text = literalIn(node);
  return text !== undefined && NAME.test(text) ? text : undefined;
}

function isReadBy(library: string, name: string): boolean {
  const wanted = name.replace('…', '');
  return filesIn(`node_modules/${library}/{lib,dist-cjs}/**/*.js`).some((file) => textOf(file).includes(wanted));
}

/** Names of variables that a template or the Containerfile sets. */
function setIn(text: string): string[] {
  const plain = text.replaceAll(/\{\{\/\*[\s\S]*?\*\/\}\}/g, '');
  return [
    ...[...plain.matchAll(/\bname: ([A-Z][A-Z0-9_]+)\b/g)].map(([, name = '']) => name),
    ...[...plain.matchAll(/\benv: \[([^\]]+)\]/g)].flatMap(([, list = '']) => list.split(',').map((one) => one.trim())),
    ...[...plain.matchAll(/\blist((?: "[A-Z][A-Z0-9_]+")+)/g)].flatMap(([, list = '']) =>
      [...list.matchAll(/"(\w+)"/g)].map(([, name = '']) => name),
    ),
    ...[...plain.matchAll(/^([A-Z][A-Z0-9_]+): /gm)].map(([, name = '']) => name),
    ...[...plain.matchAll(/^ENV (\w+)=/gm)].map(([, name = '']) => name),
  ];
}
