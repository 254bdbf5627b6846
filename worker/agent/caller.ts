import type { TLSSocket } from 'node:tls';
import type { Socket } from 'node:net';
import { errors, jwtVerify } from 'jose';
import { ConnectorError } from '../../domain/errors.ts';
import type { KeySet } from './key-set.ts';
import type { AgentConfig } from './settings.ts';

/** Who calls, proven. */
export interface AgentCaller {
  readonly via: 'jwt' | 'certificate';
  /** Issuer and subject of the token, or the name in the certificate that is allowed. */
  readonly id: string;
}

export interface CallerDeps {
  readonly config: Pick<AgentConfig, 'clientNames' | 'jwt'>;
  readonly keys: KeySet | undefined;
  /** Whether a connection was made under the authority that counts now. */
  readonly isCurrent: (socket: Socket) => boolean;
}

/** Finds out who calls; undefined for somebody who does not even try. Throws CALLER_UNAUTHENTICATED, CALLERS_UNAVAILABLE. */
export type Authenticate = (call: {
  readonly authorization: string | undefined;
  readonly socket: Socket;
}) => Promise<AgentCaller | undefined>;

/** Never `none` and nothing symmetric: a published key must not be usable to sign. */
const ALGORITHMS = ['EdDSA', 'Ed25519', 'ES256', 'ES384', 'PS256', 'RS256'];
const CLOCK_TOLERANCE_SECONDS = 30;
/** However long a token says that it is good for. */
const MAX_AGE_SECONDS = 3_600;
const MAX_TOKEN_CHARS = 8_192;
const MAX_ID_CHARS = 512;

export function createAuthenticate({ config, keys, isCurrent }: CallerDeps): Authenticate {
  return async ({ authorization, socket }) => {
    const name = config.clientNames && isCurrent(socket) ? allowedName(socket, config.clientNames) : undefined;
    if (name !== undefined) return { via: 'certificate', id: name };
    if (authorization === undefined) return undefined;
    const token = /^Bearer ([\w-]+\.[\w-]+\.[\w-]+)$/i.exec(authorization)?.[1];
    const { jwt } = config;
    if (!jwt || !keys || token === undefined || token.length > MAX_TOKEN_CHARS) throw refused();
    try {
      const { payload } = await jwtVerify(token, keys.keyFor, {
        issuer: jwt.issuer,
        audience: jwt.audience,
        algorithms: ALGORITHMS,
        clockTolerance: CLOCK_TOLERANCE_SECONDS,
        maxTokenAge: MAX_AGE_SECONDS,
        requiredClaims: ['exp', 'iat', 'sub'],
      });
      return { via: 'jwt', id: `${jwt.issuer} ${payload.sub}`.toWellFormed().slice(0, MAX_ID_CHARS) };
    } catch (error) {
      if (error instanceof errors.JOSEError) throw refused(error);
      throw error instanceof ConnectorError ? error : new ConnectorError('CALLERS_UNAVAILABLE', '', { cause: error });
    }
  };
}

function refused(cause?: unknown): ConnectorError {
  return new ConnectorError('CALLER_UNAUTHENTICATED', '', cause === undefined ? {} : { cause });
}

/** The first of the certificate's names that is allowed; the certificate must be good now, not only when it connected. */
function allowedName(socket: Socket, allowed: readonly string[]): string | undefined {
  const { authorized, getPeerX509Certificate } = socket as Partial<TLSSocket>;
  if (!authorized) return undefined;
  const certificate = getPeerX509Certificate?.call(socket);
  const names = certificate?.subjectAltName;
  // A name that has to be quoted may hold what looks like another one.
  if (!certificate || names === undefined || names.includes('"')) return undefined;
  if (certificate.validToDate.getTime() < Date.now()) return undefined;
  return names.split(', ').find((name) => allowed.includes(name));
}
