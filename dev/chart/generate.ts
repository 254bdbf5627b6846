/** `npx node dev/chart/generate.ts`: writes what in the chart is made from something else. A test holds the files to it. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { generatedFiles } from './generated-files.ts';
import { CHART } from './values.ts';

for (const [name, text] of Object.entries(await generatedFiles())) await writeFile(join(CHART, name), text);
