import { describe, expect, it } from '@jest/globals';
import { at, listAt } from '../../../activities/kubernetes/kube-object.ts';
import { render } from '../../support/chart.ts';

// R22, R29

describe('the API key of Temporal Cloud', () => {
  it('is a file of every pod that talks to Temporal, which can become another one', async () => {
    const temporal = { apiKey: { existingSecret: 'cloud', key: 'token' }, tls: { existingSecret: '' } };
    const pods = (await render('full', { temporal, codecServer: { enabled: true } })).filter(({ kind }) =>
      ['DaemonSet', 'StatefulSet', 'Deployment'].includes(kind),
    );
    expect(pods).toHaveLength(4);
    for (const pod of pods) {
      const [container] = listAt(pod, 'spec', 'template', 'spec', 'containers');
      const env = listAt(container, 'env').filter((one) => String(at(one, 'name')).startsWith('TEMPORAL_API_KEY'));
      expect(env).toEqual([{ name: 'TEMPORAL_API_KEY_FILE', value: '/etc/byoc/temporal-login/api-key' }]);
      const mount = listAt(container, 'volumeMounts').find((one) => at(one, 'name') === 'temporal-login');
      expect(mount).toMatchObject({ mountPath: '/etc/byoc/temporal-login', readOnly: true });
      // With a subPath it would stay what it was.
      expect(mount).not.toHaveProperty('subPath');
      expect(listAt(pod, 'spec', 'template', 'spec', 'volumes')).toContainEqual(
        expect.objectContaining({
          name: 'temporal-login',
          secret: expect.objectContaining({ secretName: 'cloud', items: [{ key: 'token', path: 'api-key' }] }),
        }),
      );
    }
  });
});
