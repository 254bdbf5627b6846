import js from '@eslint/js';
import tseslint from 'typescript-eslint';

// The import rules of ARCHITECTURE.md: workflows → domain ← activities; worker/ wires.
// A folder may import from itself and from what is listed here, nothing else of ours.
const mayImport = {
  domain: [],
  workflows: ['domain'], // and types of activities
  activities: ['domain'],
  client: ['domain', 'workflows'],
  worker: ['domain', 'workflows', 'activities', 'client'],
};
const ours = ['domain', 'workflows', 'activities', 'worker', 'client', 'dev', 'test', 'bench'];

function importRules(folder) {
  const forbidden = ours.filter((other) => other !== folder && !mayImport[folder].includes(other));
  return {
    files: [`${folder}/**/*.ts`],
    ignores: ['client/cli/**'],
    rules: {
      '@typescript-eslint/no-restricted-imports': [
        'error',
        {
          patterns: [
            ...forbidden.map((other) => ({
              regex: `^(\\.\\./)+${other}/`,
              message: `${folder}/ may not import ${other}/ (see ARCHITECTURE.md).`,
              allowTypeImports: folder === 'workflows' && other === 'activities',
            })),
            ...(folder === 'domain' || folder === 'workflows'
              ? [{ regex: '^node:', message: `${folder}/ runs in the workflow sandbox: no Node built-ins.` }]
              : []),
            ...(folder === 'domain'
              ? [{ regex: '^@(temporalio|kubernetes|aws-sdk|sigstore)/', message: 'domain/ knows no SDK.' }]
              : []),
            ...(folder === 'worker' || folder === 'activities'
              ? [{ regex: '/client/cli/', message: 'The command is not a library.' }]
              : []),
          ],
        },
      ],
    },
  };
}

export default tseslint.config(
  { ignores: ['dist/', '.byoc/', 'node_modules/', 'coverage/'] },
  js.configs.recommended,
  ...tseslint.configs.strict,
  {
    languageOptions: { globals: { process: 'readonly', console: 'readonly', Buffer: 'readonly' } },
    rules: {
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_' }],
      '@typescript-eslint/no-non-null-assertion': 'error',
      'no-control-regex': 'off', // control characters are what several of our checks are about
    },
  },
  ...Object.keys(mayImport).map(importRules),
  {
    // Only entry points read the environment.
    files: ['domain/**', 'workflows/**', 'activities/**'],
    rules: { 'no-restricted-globals': ['error', { name: 'process', message: 'Settings come in as arguments.' }] },
  },
);
