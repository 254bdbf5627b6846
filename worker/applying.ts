import { applyingAccess } from '../activities/kubernetes/applying-account.ts';
import type { KubeAccess } from '../activities/kubernetes/credentials.ts';
import type { KubeApi } from '../activities/kubernetes/kube-api.ts';
import { createKubeApi } from '../activities/kubernetes/kube-api.ts';
import { ConnectorError } from '../domain/errors.ts';
import type { Finding } from '../domain/health.ts';
import type { Foundation } from './foundation.ts';
import type { Looks } from './health-watch.ts';

/** The API server as packages reach it. */
export interface Applying {
  readonly access: KubeAccess;
  readonly api: KubeApi;
  readonly looks: Looks;
  close(): Promise<void>;
}

/** The part as health names it. */
const PART = 'applying-account';
const LOOK_EVERY_MS = 60_000;
const OK: Finding = { state: 'ok' };
const ONE_ACCOUNT: Finding = {
  state: 'degraded',
  sentence: "Packages are applied with the account that keeps the connector's own state (BYOC_APPLY_SERVICE_ACCOUNT).",
};

/** Opens the API server with the account that packages are planned and applied with. */
export function openApplying({ config, kube, api, audit, health, logger }: Foundation): Applying {
  const { applyAccount: account } = config;
  if (!account) {
    health.report(PART, ONE_ACCOUNT);
    logger.warn('BYOC_APPLY_SERVICE_ACCOUNT is not set: packages have all rights of the connector itself');
    return { access: kube, api, looks: {}, close: () => Promise.resolve() };
  }
  const name = `${account.namespace}/${account.name}`;
  let isWell = false;
  const access = applyingAccess({
    api,
    base: kube,
    account,
    async onIssued(ttlSeconds) {
      await audit.record('kubernetes.token-issued', { account: name, ttlSeconds });
      isWell = true;
      health.report(PART, OK);
    },
    onTrouble(err) {
      isWell = false;
      const code = err instanceof ConnectorError ? err.code : 'INTERNAL';
      health.report(PART, { state: 'degraded', code }); // whether none is left the next look tells
      logger.error({ alert: 'part-unhealthy', account: name, code, err }, 'there is no token to apply packages with');
    },
  });
  const applying = createKubeApi(access);
  return {
    access,
    // Which cluster it is, the connector asks for itself.
    api: { ...applying, clusterUid: api.clusterUid },
    // Not asked for while all is well: each token is one more, and an entry of the audit log.
    looks: {
      [PART]: {
        everyMs: LOOK_EVERY_MS,
        look: async () => {
          if (!isWell) await access.applyToHTTPSOptions({});
          return OK;
        },
      },
    },
    close: () => applying.close(),
  };
}
