import { ConnectorError } from '../domain/errors.ts';
import type { Environment } from '../domain/tls-settings.ts';
import type { TemporalSettings } from './temporal-settings.ts';
import { readTemporalSettings } from './temporal-settings.ts';

/** What both kinds of connection to Temporal have. */
interface Closable {
  close(): Promise<void>;
}

export interface FollowOptions<Connection extends Closable> {
  readonly env: Environment;
  readonly connect: (settings: TemporalSettings) => Promise<Connection>;
  /** The class of the connections. */
  readonly prototype: object;
  /** Is told of a connection with other certificates, or another API key, before it is the one that counts. */
  readonly onSwitch?: (connection: Connection, settings: TemporalSettings) => void;
  /** Certificates, or a key, that cannot be used, once for each reason; what was before still counts. */
  readonly onTrouble?: (error: ConnectorError | undefined) => void;
  readonly everyMs?: number;
}

export interface Following<Connection> {
  /** Passes everything on to the connection that counts at the moment. */
  readonly connection: Connection;
  readonly settings: TemporalSettings;
}

const LOOK_EVERY_MS = 10_000;
/** Temporal holds a poll for a minute at most: by then nothing is on its way on the old connection. */
const CLOSE_AFTER_MS = 90_000;

/**
 * Connects to Temporal, and once more whenever the certificates or the API key change on disk: its connections keep those that
 * they were made with. The new one must work before it takes over.
 * @throws {ConnectorError} CONFIG_INVALID, TEMPORAL_UNAVAILABLE
 */
export async function followConnection<Connection extends Closable & object>(
  options: FollowOptions<Connection>,
): Promise<Following<Connection>> {
  const { env, onSwitch, onTrouble, everyMs = LOOK_EVERY_MS } = options;
  const open = async (settings: TemporalSettings) => {
    try {
      return await options.connect(settings);
    } catch (cause) {
      throw new ConnectorError('TEMPORAL_UNAVAILABLE', `Tried ${settings.address}.`, { cause });
    }
  };
  let settings = readTemporalSettings(env);
  let current = await open(settings);
  let trouble: string | undefined;
  let isClosed = false;
  /** Those that may have something on its way yet. Temporal's runtime, and with it the process, ends when all are closed. */
  const earlier = new Set<Connection>();
  const closeEarlier = async (one: Connection) => {
    if (earlier.delete(one)) await one.close().catch(() => undefined);
  };

  async function look(): Promise<void> {
    try {
      const found = readTemporalSettings(env);
      if (found.fingerprint !== settings.fingerprint) {
        const [before, next] = [current, await open(found)];
        if (isClosed) return await next.close();
        onSwitch?.(next, found);
        [current, settings] = [next, found];
        earlier.add(before);
        setTimeout(() => void closeEarlier(before), CLOSE_AFTER_MS).unref();
      }
      if (trouble !== undefined) onTrouble?.(undefined);
      trouble = undefined;
    } catch (error) {
      const known = error as ConnectorError; // nothing else is thrown
      if (trouble !== known.message) onTrouble?.(known);
      trouble = known.message;
    }
  }
  const again = () => {
    if (!isClosed) timer = setTimeout(() => void look().finally(again), everyMs).unref();
  };
  let timer: NodeJS.Timeout;
  again();

  const close = async () => {
    isClosed = true;
    clearTimeout(timer);
    await Promise.all([current.close(), ...[...earlier].map(closeEarlier)]);
  };
  const handler: ProxyHandler<Connection> = {
    get(_, name) {
      if (name === 'close') return close;
      const value: unknown = Reflect.get(current, name, current);
      return typeof value === 'function' ? (value.bind(current) as unknown) : value;
    },
  };
  // An object of its own: a proxy of a connection would have to keep to that one's fixed properties.
  const connection = new Proxy(Object.create(options.prototype) as Connection, handler);
  return {
    connection,
    get settings() {
      return settings;
    },
  };
}
