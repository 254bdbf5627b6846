import { randomUUID } from 'node:crypto';
import type { Client } from '@temporalio/client';
import { WorkflowNotFoundError } from '@temporalio/client';
import type { Logger } from 'pino';
import type { AuditWriter } from '../activities/package/records.ts';
import { sha256 } from '../client/sha256.ts';
import type { AuditEvent } from '../domain/audit.ts';
import type { AuditEventType, DetailOf } from '../domain/audit-catalogue.ts';
import { EXECUTE_WPK, SEARCH_ATTRIBUTES, workflowIdOf } from '../domain/names.ts';
import type { PolicyNews } from './policy-watch.ts';
import type { WaitingRuns } from './tell-waiting.ts';
import { createTeller } from './tell-waiting.ts';

/** The signal that a waiting package is told of another policy with; its run makes a new plan where that matters. */
const POLICY_CHANGED = 'policyChanged';

/** How long Temporal may take to list the packages that wait, and to take one signal, ms. */
const LISTED_WITHIN_MS = 10_000;
const ANSWERED_WITHIN_MS = 5_000;

export interface PolicyNewsDeps {
  readonly clusterId: string;
  readonly writer: string;
  readonly audit: AuditWriter;
  readonly client: Client;
  /** The connector's search attributes that the Temporal namespace knows. */
  readonly searchAttributes: readonly string[];
  readonly logger: Logger;
}

/** Tells log, audit and waiting packages what became of the policy. */
export function createPolicyNews(deps: PolicyNewsDeps): PolicyNews {
  const { writer, audit, logger } = deps;
  const tellWaiting = createTeller(waitingRuns(deps));
  const boot = randomUUID();
  let count = 0;
  let logged: string | undefined;

  /** What fails midway is called again, with the same id for the audit and no second log line. */
  async function tell(what: string, log: () => void, work: (eventId: string) => Promise<void>): Promise<void> {
    const eventId = sha256(JSON.stringify([boot, count, what]));
    if (eventId !== logged) log();
    logged = eventId;
    try {
      await work(eventId);
    } catch (err) {
      logger.warn({ err }, 'the news of the policy could not be told to everyone; it is tried again');
      throw err;
    }
    count += 1;
  }

  const record = async <T extends AuditEventType>(
    eventId: string,
    type: T,
    outcome: AuditEvent['outcome'],
    detail: DetailOf<T>,
  ): Promise<void> => {
    await audit.append({ eventId, type, actor: { id: writer, proof: 'system' }, outcome, detail });
  };

  return {
    onChanged: (policyDigest) =>
      tell(
        policyDigest,
        () => logger.info({ policyDigest }, 'the policy is loaded'),
        async (eventId) => {
          await record(eventId, 'policy.loaded', 'succeeded', { policyDigest });
          await tellWaiting(policyDigest);
        },
      ),
    onBroken: (error) =>
      tell(
        error.message,
        () =>
          logger.error({ alert: 'policy-broken', code: error.code, err: error }, 'the policy is broken: nothing runs'),
        (eventId) =>
          record(eventId, 'policy.broken', 'failed', { code: error.code, detail: error.detail, ...error.place }),
      ),
  };
}

function waitingRuns({ clusterId, client, searchAttributes }: PolicyNewsDeps): WaitingRuns {
  const conditions = [
    `WorkflowType = '${EXECUTE_WPK}'`,
    `WorkflowId STARTS_WITH '${workflowIdOf(clusterId, '')}'`,
    `ExecutionStatus = 'Running'`,
    ...(searchAttributes.includes(SEARCH_ATTRIBUTES.phase) ? [`${SEARCH_ATTRIBUTES.phase} = 'awaiting-approval'`] : []),
  ];
  const query = conditions.join(' AND ');
  return {
    list: () => client.withDeadline(Date.now() + LISTED_WITHIN_MS, () => all(client.workflow.list({ query }))),
    async tell({ workflowId, runId }, policyDigest) {
      try {
        const handle = client.workflow.getHandle(workflowId, runId);
        await client.withDeadline(Date.now() + ANSWERED_WITHIN_MS, () =>
          handle.signal(POLICY_CHANGED, { policyDigest }),
        );
      } catch (error) {
        if (!(error instanceof WorkflowNotFoundError)) throw error; // it has ended by now
      }
    },
  };
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}
