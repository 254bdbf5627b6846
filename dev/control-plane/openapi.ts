import { stringify } from 'yaml';
import { z } from 'zod';
import {
  answerSchema,
  CLUSTER_CLAIM,
  CONTROL_PLANE_AUDIENCE,
  heartbeatSchema,
  PROBLEMS,
  problemSchema,
  registrationSchema,
  signalSchema,
} from '../../domain/control-plane.ts';
import type { ProblemCode } from '../../domain/control-plane.ts';

const SCHEMAS = {
  Registration: registrationSchema,
  Heartbeat: heartbeatSchema,
  Signal: signalSchema,
  Answer: answerSchema,
  Problem: problemSchema,
} as const;

const ref = (name: keyof typeof SCHEMAS) => ({ $ref: `#/components/schemas/${name}` });

/** What can come back whatever is called. */
const COMMON: readonly ProblemCode[] = [
  ...(['malformed', 'unauthenticated', 'forbidden', 'too-large', 'unsupported-media'] as const),
  ...(['rate-limited', 'internal', 'unavailable'] as const),
];

/** The contract as an OpenAPI document (3.1.1), from the schemas that both sides parse with. */
export function generateOpenApi(): string {
  const document = {
    openapi: '3.1.1',
    info: {
      title: 'Control plane of the NeuralOps BYOC Connector',
      version: '1.0.0',
      description:
        'What a control plane serves for its connectors. Bodies are JSON in UTF-8; both sides ignore fields that they do ' +
        'not know. Nothing in an answer is carried out by a connector. See docs/control-plane.md.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: 'https://control-plane.example.com' }],
    security: [{ vaultJwt: [] }],
    paths: {
      '/register': {
        post: operation('register', 'Registers the cluster, or renews its registration; sent every 5 minutes.', {
          body: 'Registration',
          successes: { 200: 'The registration is renewed.', 201: 'The cluster is registered.' },
          problems: ['cluster-conflict'],
        }),
      },
      '/healthz': {
        put: operation('heartbeat', 'The heartbeat of a cluster; sent every 30 seconds.', {
          body: 'Heartbeat',
          successes: { 200: 'The beat is taken.' },
          problems: ['not-registered'],
        }),
      },
      '/signals': {
        post: operation('signal', 'A batch of metrics, or an alert.', {
          body: 'Signal',
          parameters: [
            {
              name: 'Idempotency-Key',
              in: 'header',
              required: true,
              description:
                'The id of the batch or the alert. The same key with the same body is taken once and answered 202.',
              schema: { type: 'string', maxLength: 128 },
            },
            {
              name: 'Content-Encoding',
              in: 'header',
              description: 'Connectors compress all signals.',
              schema: { type: 'string', enum: ['gzip', 'identity'] },
            },
          ],
          successes: { 202: 'It is kept, for good: the connector forgets it.' },
          problems: ['not-registered', 'idempotency-conflict'],
        }),
      },
    },
    components: {
      securitySchemes: {
        vaultJwt: {
          type: 'http',
          scheme: 'bearer',
          bearerFormat: 'JWT',
          description:
            `Issued by the identity engine of the customer's Vault: audience \`${CONTROL_PLANE_AUDIENCE}\`, and the claim ` +
            `\`${CLUSTER_CLAIM}\` names the cluster. Verified against \`identity/oidc/.well-known/keys\` of that Vault.`,
        },
      },
      schemas: Object.fromEntries(Object.entries(SCHEMAS).map(([name, schema]) => [name, jsonSchema(schema)])),
    },
  };
  return `# Generated from domain/control-plane.ts by: node dev/generate-schema.ts\n${stringify(document, { lineWidth: 120, aliasDuplicateObjects: false })}`;
}

interface OperationParts {
  readonly body: keyof typeof SCHEMAS;
  readonly parameters?: readonly object[];
  readonly successes: Readonly<Record<number, string>>;
  readonly problems: readonly ProblemCode[];
}

function operation(operationId: string, summary: string, parts: OperationParts): object {
  const { body, parameters, successes, problems } = parts;
  const answers = Object.entries(successes).map(([status, description]) => [
    status,
    { description, content: { 'application/json': { schema: ref('Answer') } } },
  ]);
  return {
    operationId,
    summary,
    ...(parameters && { parameters }),
    requestBody: { required: true, content: { 'application/json': { schema: ref(body) } } },
    responses: Object.fromEntries([...answers, ...problemAnswers([...COMMON, ...problems])]),
  };
}

/** By status: several problems may share one. */
function problemAnswers(codes: readonly ProblemCode[]): [string, object][] {
  const statuses = [...new Set(codes.map((code) => PROBLEMS[code].status))].sort();
  return statuses.map((status) => {
    const same = codes.filter((code) => PROBLEMS[code].status === status);
    const retryAfter = { 'Retry-After': { description: 'Seconds to wait.', schema: { type: 'integer', minimum: 1 } } };
    return [
      String(status),
      {
        description: same.map((code) => `\`${code}\`: ${PROBLEMS[code].title}`).join(' '),
        ...(status === PROBLEMS['rate-limited'].status && { headers: retryAfter }),
        content: { 'application/problem+json': { schema: ref('Problem') } },
      },
    ];
  });
}

/** OpenAPI 3.1 takes JSON Schema 2020-12 as it is. */
function jsonSchema(schema: z.ZodType): object {
  const generated = z.toJSONSchema(schema, { io: 'input' });
  delete generated.$schema; // the document says it once
  return generated;
}
