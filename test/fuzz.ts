/** `npm run fuzz -- [RUNS] [SEED]`: mutates signed packages, a million by default, and tells what became of them. */
import { fuzzPackages } from './support/package-fuzzer.ts';

const [runs = 1_000_000, seed = Date.now() % 2 ** 31] = process.argv.slice(2).map(Number);
console.error(`${runs} mutated packages, seed ${seed}`);
const startedAt = performance.now();
const report = fuzzPackages({ runs, seed });
const seconds = Math.round((performance.now() - startedAt) / 100) / 10;
console.log(JSON.stringify({ seconds, seed, ...report }, null, 2));
