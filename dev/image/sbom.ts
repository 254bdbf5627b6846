/**
 * Prints what the image holds as CycloneDX: `npm sbom` of the packages that are needed to run. What would differ each time,
 * a random serial number and the time, is made from the packages and from the commit's time.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

interface Bom {
  serialNumber?: string;
  readonly metadata: {
    timestamp?: string;
    readonly component: { name?: string | undefined; group?: string | undefined };
  };
  readonly components: readonly unknown[];
}

const { name: packageName } = JSON.parse(readFileSync('package.json', 'utf8')) as { name: string };
const args = ['sbom', '--omit=dev', '--sbom-format=cyclonedx'];
const bom = JSON.parse(execFileSync('npm', args, { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 })) as Bom;
const hash = createHash('sha256').update(JSON.stringify(bom.components)).digest('hex');
bom.serialNumber = `urn:uuid:${hash.slice(0, 8)}-${hash.slice(8, 12)}-5${hash.slice(13, 16)}-8${hash.slice(17, 20)}-${hash.slice(20, 32)}`;
// npm takes the folder's name for the package's.
[, bom.metadata.component.group, bom.metadata.component.name] = /^(@[^/]+)\/(.+)$/.exec(packageName) ?? [];
bom.metadata.timestamp = new Date(Number(process.env['SOURCE_DATE_EPOCH'] ?? 0) * 1000).toISOString();
process.stdout.write(`${JSON.stringify(bom, null, 2)}\n`);
