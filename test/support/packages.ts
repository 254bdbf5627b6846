import { ulid } from 'ulid';
import { signWpk } from '../../client/sign.ts';
import type { SignedWpk, Step, Wpk } from '../../domain/wpk.ts';
import { WPK_API_VERSION } from '../../domain/wpk.ts';

/** What a test says about its package; the rest is filled in so that the package is good. */
export interface WpkOptions {
  readonly id?: string;
  readonly clusterId?: string;
  readonly namespaces?: readonly string[];
  readonly steps?: readonly Step[];
  readonly playbook?: string;
  readonly author?: string;
  readonly risk?: Wpk['risk'];
  readonly notBefore?: Date;
  readonly expiresAt?: Date;
  readonly sequence?: number;
  readonly onFailure?: Wpk['onFailure'];
}

/** A good package; by default one that creates a ConfigMap in the namespace `shop`. */
export function buildWpk(options: WpkOptions = {}): Wpk {
  const namespaces = options.namespaces ?? ['shop'];
  const notBefore = options.notBefore ?? new Date(Date.now() - 60_000);
  return {
    apiVersion: WPK_API_VERSION,
    kind: 'WorkPackage',
    metadata: {
      id: options.id ?? ulid(),
      name: 'change-settings',
      playbook: { id: options.playbook ?? 'settings', version: '1' },
      author: options.author ?? 'alice@example.com',
      sequence: options.sequence ?? 1,
      notBefore: notBefore.toISOString(),
      expiresAt: (options.expiresAt ?? new Date(notBefore.getTime() + 3_600_000)).toISOString(),
    },
    target: { clusterId: options.clusterId ?? 'test', namespaces: [...namespaces] },
    risk: options.risk ?? 'low',
    reason: 'a test wants it',
    steps: [...(options.steps ?? [applyStep(configMap('settings', namespaces[0] ?? 'shop', { colour: 'blue' }))])],
    onFailure: options.onFailure ?? 'halt',
  };
}

export function applyStep(...manifests: Extract<Step, { action: 'apply' }>['manifests']): Step {
  return { id: 'apply', action: 'apply', manifests };
}

export function configMap(name: string, namespace: string, data: Record<string, string>) {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace }, data };
}

/** Signs the package's bytes for real. */
export function sign(wpk: Wpk, privateKeyPem: string): SignedWpk {
  return signBytes(Buffer.from(JSON.stringify(wpk)), privateKeyPem);
}

export function signBytes(bytes: Uint8Array, privateKeyPem: string): SignedWpk {
  return { payload: Buffer.from(bytes).toString('base64'), bundle: signWpk(bytes, privateKeyPem) };
}
