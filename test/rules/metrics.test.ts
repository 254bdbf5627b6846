import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { createMetrics } from '../../worker/metrics/registry.ts';
import { METRICS } from '../../worker/metrics/catalogue.ts';

// R24

const DOCUMENT = join(import.meta.dirname, '../../docs/metrics.md');

describe('the metrics', () => {
  it('are what docs/metrics.md shows to operators, row by row', async () => {
    const document = await readFile(DOCUMENT, 'utf8');
    const rows = Object.entries(METRICS).map(([name, { type, labels, help }]) => {
      return `| \`${name}\` | ${type} | ${labels.map((label) => `\`${label}\``).join(' ')} | ${help} |`;
    });
    expect(document.split('\n').filter((line) => line.startsWith('| `byoc_'))).toEqual(rows);
  });

  it('are all there from the start', async () => {
    const text = await createMetrics().render();
    for (const [name, { type }] of Object.entries(METRICS)) expect(text).toContain(`# TYPE ${name} ${type}`);
  });

  it('are named as Prometheus asks: counters end in _total and nothing else does, times are in seconds', async () => {
    const text = await createMetrics().render();
    const types = [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name = '', type]) => ({ name, type }));
    expect(types.length).toBeGreaterThan(Object.keys(METRICS).length);
    for (const { name, type } of types) {
      expect(name).toMatch(/^[a-z][a-z0-9_]*$/);
      expect({ name, isCounter: name.endsWith('_total') }).toEqual({ name, isCounter: type === 'counter' });
      expect(name).not.toMatch(/_(ms|milliseconds|minutes|days|kib|mib)(_|$)/);
    }
  });

  it('count a package, its votes and its end from the audit log, and take no label from outside', async () => {
    const metrics = createMetrics();
    const event = (type: string, detail: object) =>
      metrics.onRecorded({
        eventId: type,
        type: type as 'package.denied',
        actor: { id: 'somebody', proof: 'asserted' },
        outcome: 'refused',
        detail: { ...detail },
      });
    event('package.denied', { error: { code: 'KEY_UNKNOWN', message: '' } });
    event('package.failed', { error: { code: '"}made up', message: '' } });
    event('vote.recorded', { decision: 'anything' });
    event('call.refused', { code: 'CALLER_UNTRUSTED' });
    event('key.loaded', { use: 'votes', name: 'a', fingerprint: 'f' });
    event('key.loaded', { use: 'votes', name: 'b', fingerprint: 'g' });
    event('key.revoked', { use: 'votes', name: 'b', fingerprint: 'g' });
    event('policy.broken', {});
    const text = await metrics.render();
    for (const line of [
      'byoc_packages_total{stage="denied"} 1',
      'byoc_package_errors_total{code="KEY_UNKNOWN"} 1',
      'byoc_package_errors_total{code="other"} 1',
      'byoc_votes_total{decision="other",proof="asserted",result="refused"} 1',
      'byoc_refused_calls_total{code="CALLER_UNTRUSTED"} 1',
      'byoc_keys{use="votes",state="trusted"} 1',
      'byoc_keys{use="votes",state="revoked"} 1',
      'byoc_policy_broken 1',
      'byoc_audit_entries_total{type="key.loaded"} 2',
    ]) {
      expect(text.split('\n')).toContain(line);
    }
    expect(text).not.toContain('made up');
  });
});
