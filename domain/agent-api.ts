import { z } from 'zod';
import { WPK_MAX_BYTES } from './wpk.ts';

/** The agent's HTTP API: what its bodies are. `docs/agent.openapi.yaml` is generated from this file. */

/** Room for a bundle with certificates and log entries, beside the payload. */
const BUNDLE_MAX_BYTES = 256 * 1024;

/** The largest body that is read: a package of the largest size in base64, and its bundle. */
export const BODY_MAX_BYTES = Math.ceil(WPK_MAX_BYTES / 3) * 4 + BUNDLE_MAX_BYTES;

export const executeRequestSchema = z.strictObject({
  payload: z.string().describe('base64 (RFC 4648, section 4, padded) of the raw bytes that were signed'),
  bundle: z
    .record(z.string(), z.unknown())
    .describe('Sigstore bundle v0.3 over those bytes, as cosign sign-blob --bundle writes it'),
});

/** Beside the header `byoc-simulated`, which every answer of a simulation has. */
const simulated = z.literal(true).optional().describe('set in simulation mode: nothing of this is real');

export const acceptedSchema = z.object({
  id: z.string().describe('id of the work package'),
  workflowId: z.string(),
  runId: z.string(),
  links: z.object({
    workflow: z.string().describe('the run in Temporal: temporal:///namespaces/…/workflows/…/…/history'),
    health: z.string(),
  }),
  simulated,
});
export type Accepted = z.infer<typeof acceptedSchema>;

const state = z.enum(['ok', 'degraded', 'down']);

/** What anybody may read. */
export const probeSchema = z.object({ status: state, simulated });

/** What those may read who prove who they are. */
export const healthSchema = z.object({
  status: state.describe(
    'down: a role cannot do its work, such as take packages in; degraded: something does not work as it should',
  ),
  ready: z.boolean().describe('false where status is down, and while the worker begins or ends'),
  simulated,
  clusterId: z.string(),
  writer: z.string().describe('the process that answers'),
  roles: z.array(z.enum(['registration', 'metrics', 'execution'])).describe('what it does'),
  version: z.string(),
  startedAt: z.iso.datetime(),
  freeze: z
    .object({
      state: z.enum(['open', 'frozen', 'unknown']),
      since: z.string().optional(),
      by: z.string().optional(),
      reason: z.string().optional(),
    })
    .optional()
    .describe('absent where the process does not have the role execution'),
  registration: z
    .object({
      state: z
        .enum(['registered', 'unregistered', 'unknown'])
        .describe('unregistered: the control plane does not know the cluster; unknown: it has not answered yet'),
      registeredAt: z.iso.datetime().optional().describe('when it last took a registration of this process'),
      beatAt: z.iso.datetime().optional().describe('when it last took a heartbeat of this process'),
    })
    .optional()
    .describe('by the answers that this process got; absent where it does not have the role registration'),
  components: z.array(
    z.object({
      name: z.string(),
      state,
      since: z.iso.datetime(),
      code: z.string().optional(),
      sentence: z.string().optional(),
    }),
  ),
  audit: z.object({
    head: z.object({ chain: z.string(), seq: z.int(), hash: z.string() }).describe('the last durable entry'),
    bucket: z
      .object({
        uploadedSeq: z.int().describe('the last entry that is in the bucket'),
        waiting: z.int().describe('entries that are not'),
        failingSince: z.iso.datetime().optional(),
        code: z.string().optional(),
        objectLock: z.boolean().nullable().describe('null where the bucket could not be asked'),
      })
      .optional()
      .describe('absent where no bucket is set'),
  }),
});
export type HealthReport = z.infer<typeof healthSchema>;
