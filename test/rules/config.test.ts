import { describe, expect, it } from '@jest/globals';
import { readConfig } from '../../worker/config.ts';
import { errorOf } from '../support/expect-code.ts';

// R12, R23, R29

const read = (env: NodeJS.ProcessEnv) => readConfig({ BYOC_DATA_DIR: '/data', COSIGN_KEY: 'key', ...env });

const VAULT = { VAULT_ADDR: 'https://vault.example.com', VAULT_ROLE_ID: 'role', VAULT_SECRET_ID: 'secret' };

describe('the name of the cluster', () => {
  it('is the one that is set', () => {
    expect(read({ BYOC_CLUSTER_ID: 'prod-eu-1', NODE_NAME: 'node-7' }).clusterId).toBe('prod-eu-1');
  });

  it.each([
    ['node-7', 'node-7'],
    ['IP-10-0-0-7.eu.Internal', 'ip-10-0-0-7-eu-internal'],
    [`${'x'.repeat(62)}.y`, 'x'.repeat(62)],
  ])('is in development the name of the node: %s', (nodeName, clusterId) => {
    expect(read({ NODE_NAME: nodeName }).clusterId).toBe(clusterId);
  });

  it('must be set in production', () => {
    const error = errorOf(() => read({ NODE_NAME: 'node-7', NODE_ENV: 'production' }));
    expect(error).toMatchObject({
      code: 'CONFIG_INVALID',
      detail: expect.stringContaining('BYOC_CLUSTER_ID is missing'),
    });
  });
});

describe('the control plane', () => {
  it('is none where none is set', () => {
    expect(read({}).controlPlane).toBeUndefined();
  });

  it('is told labels', () => {
    const { controlPlane } = read({
      ...VAULT,
      CONTROL_PLANE_URL: 'https://cp.example.com',
      BYOC_LABELS: 'team=shop, stage=prod',
    });
    expect(controlPlane).toMatchObject({ labels: { team: 'shop', stage: 'prod' }, lostAfterMs: 90_000 });
  });

  it.each([
    [
      { ...VAULT, CONTROL_PLANE_URL: 'http://cp.example.com' },
      'CONTROL_PLANE_URL must be https, except on this machine.',
    ],
    [
      { CONTROL_PLANE_URL: 'https://cp.example.com' },
      'CONTROL_PLANE_URL is set; VAULT_ADDR must be too, because the control plane knows a cluster by what its Vault says.',
    ],
    [{ BYOC_LABELS: 'team' }, 'BYOC_LABELS holds "team"; labels are name=value, with commas between.'],
  ])('is refused with %j', (env, detail) => {
    expect(errorOf(() => read(env))).toMatchObject({ code: 'CONFIG_INVALID', detail });
  });
});
