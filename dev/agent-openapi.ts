import { stringify } from 'yaml';
import { z } from 'zod';
import {
  acceptedSchema,
  BODY_MAX_BYTES,
  executeRequestSchema,
  healthSchema,
  probeSchema,
} from '../domain/agent-api.ts';
import type { ErrorCode } from '../domain/errors.ts';
import { ERRORS } from '../domain/errors.ts';
import { VERSION } from '../domain/names.ts';

const problemSchema = z.object({
  type: z.string().describe('https://neuralops.io/problems/ and the code'),
  title: z.string().describe('the sentence of the code; nothing of this cluster is in it'),
  status: z.int(),
  code: z.enum(Object.keys(ERRORS) as [ErrorCode, ...ErrorCode[]]),
});

const SCHEMAS = {
  SignedWpk: executeRequestSchema,
  Accepted: acceptedSchema,
  Probe: probeSchema,
  Health: healthSchema,
  Problem: problemSchema,
} as const;

const ref = (name: keyof typeof SCHEMAS) => ({ $ref: `#/components/schemas/${name}` });
const json = (name: keyof typeof SCHEMAS, description: string) => ({
  description,
  content: { 'application/json': { schema: ref(name) } },
});
const problem = (description: string, headers?: object) => ({
  description,
  ...(headers && { headers }),
  content: { 'application/problem+json': { schema: ref('Problem') } },
});

const RETRY_AFTER = { 'Retry-After': { description: 'Seconds to wait.', schema: { type: 'integer', minimum: 1 } } };

/** The agent's HTTP API as an OpenAPI document (3.1.1), from the schemas that it parses with. */
export function generateAgentOpenApi(): string {
  const health = {
    200: {
      description: 'Packages can be taken in. Details are for those who prove who they are.',
      content: { 'application/json': { schema: { anyOf: [ref('Probe'), ref('Health')] } } },
    },
    503: {
      description: 'They cannot.',
      content: { 'application/json': { schema: { anyOf: [ref('Probe'), ref('Health')] } } },
    },
  };
  const document = {
    openapi: '3.1.1',
    info: {
      title: 'Agent of the NeuralOps BYOC Connector',
      version: VERSION,
      description: 'What a worker serves on port 8005. See docs/agent.md.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: 'https://byoc-connector.byoc-system:8005' }],
    paths: {
      '/execute': {
        post: {
          operationId: 'execute',
          summary: 'Takes a signed work package in: verifies it and starts its run. People approve it as any other.',
          security: [{ jwt: [] }, { clientCertificate: [] }],
          requestBody: {
            required: true,
            description: `At most ${BODY_MAX_BYTES} bytes.`,
            content: { 'application/json': { schema: ref('SignedWpk') } },
          },
          responses: {
            202: json('Accepted', 'It is verified, and its run is started.'),
            400: problem('The call or the package does not have the form that it must have.'),
            401: problem('Nobody proved who they are.'),
            403: problem('The package is denied: signature, key, policy, cluster or validity.'),
            408: problem('The call did not arrive in time.'),
            409: problem('The id was used already.'),
            413: problem('The call or the package is too large.'),
            415: problem('It is not JSON.'),
            429: problem('More calls than are allowed.', RETRY_AFTER),
            500: problem('The policy cannot be read, or something went wrong inside.'),
            503: problem(
              'The route is off, the worker ends, or a part is away. It is safe to try again: of one id there is never a second run.',
            ),
          },
        },
      },
      '/health': {
        get: {
          operationId: 'health',
          summary: 'Whether packages can be taken in, and how each part is.',
          security: [{}, { jwt: [] }, { clientCertificate: [] }],
          responses: health,
        },
      },
      '/health/live': {
        get: {
          operationId: 'live',
          summary: 'Answers as long as the process does.',
          responses: { 200: json('Probe', 'It lives.') },
        },
      },
      '/health/ready': {
        get: {
          operationId: 'ready',
          summary: 'For readiness probes: the status without details.',
          responses: { 200: json('Probe', 'Packages can be taken in.'), 503: json('Probe', 'They cannot.') },
        },
      },
      '/metrics': {
        get: {
          operationId: 'metrics',
          summary: "Prometheus' text format; docs/metrics.md lists them.",
          responses: {
            200: { description: 'The metrics.', content: { 'text/plain': { schema: { type: 'string' } } } },
            429: problem('Scraped too often.', RETRY_AFTER),
          },
        },
      },
    },
    components: {
      securitySchemes: {
        jwt: {
          type: 'http',
          scheme: 'bearer',
          bearerFormat: 'JWT',
          description:
            'Issued by the control plane: `iss` as BYOC_AGENT_JWT_ISSUER says, `aud` `byoc/<cluster>` unless set otherwise, ' +
            '`sub`, `iat` and `exp`; at most an hour old; EdDSA, ES256, ES384, PS256 or RS256.',
        },
        clientCertificate: {
          type: 'mutualTLS',
          description: 'Signed by BYOC_AGENT_CLIENT_CA, with a subject alternative name of BYOC_AGENT_CLIENT_NAMES.',
        },
      },
      schemas: Object.fromEntries(Object.entries(SCHEMAS).map(([name, schema]) => [name, jsonSchema(schema)])),
    },
  };
  const head = '# Generated from domain/agent-api.ts by: node dev/generate-schema.ts';
  return `${head}\n${stringify(document, { lineWidth: 120, aliasDuplicateObjects: false })}`;
}

/** OpenAPI 3.1 takes JSON Schema 2020-12 as it is. */
function jsonSchema(schema: z.ZodType): object {
  const generated = z.toJSONSchema(schema);
  delete generated.$schema; // the document says it once
  return generated;
}
