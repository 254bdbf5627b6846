// Layers in the order in which they run; test/run.ts starts the real parts before the first one that needs them.
const common = {
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '\\.ts$': ['@swc/jest', { jsc: { parser: { syntax: 'typescript' }, target: 'es2024' }, module: { type: 'es6' } }],
  },
  testEnvironment: 'node',
};
const layer = (name) => ({ ...common, displayName: name, testMatch: [`<rootDir>/test/${name}/**/*.test.ts`] });

export default { projects: ['rules', 'activities', 'workflows', 'replay', 'whole'].map(layer), testTimeout: 60_000 };
