import { isIP } from 'node:net';
import { connect } from 'node:tls';
import type { Logger } from 'pino';
import type { TlsContext, TlsSource, TlsWatch } from '../activities/tls/context.ts';
import { createTlsContext } from '../activities/tls/context.ts';
import type { CertificateFacts } from '../activities/tls/material.ts';
import { certificateFacts, serverFacts } from '../activities/tls/material.ts';
import { unusableTlsFile } from '../activities/tls/usable-files.ts';
import type { TemporalSettings } from '../client/temporal-settings.ts';
import { placeOf, temporalTlsOf } from '../client/temporal-settings.ts';
import { ALERTS } from '../domain/alerts.ts';
import type { AuditEventType, DetailOf } from '../domain/audit-catalogue.ts';
import type { Health } from '../domain/health.ts';
import type { TlsPart } from '../domain/tls-settings.ts';
import type { Record } from './audit-watch.ts';
import type { WorkerConfig } from './config.ts';
import type { Metrics } from './metrics/registry.ts';
import type { TemporalWatch } from './temporal.ts';

/** Whose certificates are watched: those with settings of ours, and those with settings of their own tools. */
export type CertificatePart = TlsPart | 'temporal' | 'kubernetes' | 'agent';

export interface CertificatesOptions {
  readonly metrics: Pick<Metrics, 'setCertificate'>;
  readonly health: Pick<Health, 'report'>;
  readonly logger: Logger;
  readonly now: () => Date;
}

const LOOK_EVERY_MS = 30_000;
/** A server's certificate that nobody sees in passing is looked at this often. */
const PROBE_EVERY_MS = 3_600_000;
const PROBE_WITHIN_MS = 5_000;
const DAY_MS = 86_400_000;
const WARN_BEFORE_MS = 14 * DAY_MS;
/** Of its lifetime, for those that live a day or an hour only: whoever renews them does so at two thirds. */
const WARN_SHARE = 0.2;

interface Known extends CertificateFacts {
  readonly part: CertificatePart;
}

/**
 * Watches every certificate that this process stands on: which it is, until when it is good, and whether its file can be used.
 * That is a metric for each, one part of the health, an entry of the audit log where one changes or nears its end, and an alert.
 */
export class Certificates {
  readonly #options: CertificatesOptions;
  readonly #contexts = new Map<CertificatePart, TlsContext>();
  readonly #known = new Map<string, Known>();
  readonly #unusable = new Map<CertificatePart, string>();
  readonly #told = new Set<string>();
  readonly #timers: NodeJS.Timeout[] = [];
  #record: Record | undefined;

  constructor(options: CertificatesOptions) {
    this.#options = options;
  }

  /**
   * The configuration with files that are followed in place of their paths.
   * @throws {ConnectorError} CONFIG_INVALID, naming the setting whose file cannot be used
   */
  async open(config: WorkerConfig): Promise<WorkerConfig> {
    const { vault, registrationVault, metricsVault, s3, controlPlane, metrics, agent } = config;
    const keys = agent?.jwt?.keys;
    const opened = {
      vault: await this.#context('vault', vault?.tls ?? registrationVault?.tls ?? metricsVault?.tls),
      s3: await this.#context('s3', s3?.tls),
      controlPlane: await this.#context('control-plane', controlPlane?.tls),
      prometheus: await this.#context('prometheus', metrics?.prometheus.tls),
      insight: await this.#context('insight', metrics?.insight.tls),
      keys: await this.#context('caller-keys', keys && 'url' in keys ? keys.tls : undefined),
    };
    this.#look();
    this.#timers.push(setInterval(() => void this.#lookAgain(), LOOK_EVERY_MS).unref());
    return {
      ...config,
      vault: withTls(vault, opened.vault),
      registrationVault: withTls(registrationVault, opened.vault),
      metricsVault: withTls(metricsVault, opened.vault),
      s3: withTls(s3, opened.s3),
      controlPlane: withTls(controlPlane, opened.controlPlane),
      metrics: metrics && {
        ...metrics,
        prometheus: withTls(metrics.prometheus, opened.prometheus),
        insight: withTls(metrics.insight, opened.insight),
      },
      agent: agent && {
        ...agent,
        jwt: agent.jwt && {
          ...agent.jwt,
          keys: keys && 'url' in keys ? withTls(keys, opened.keys) : agent.jwt.keys,
        },
      },
    };
  }

  /** From now on what happens is recorded; what is known by then, too. */
  recordThrough(record: Record): void {
    this.#record = record;
    this.#look();
  }

  /** To be told of what a part that reads its own files has found. */
  watchOf(part: CertificatePart): TlsWatch {
    return {
      onCertificate: (facts) => this.#onCertificate(part, facts),
      onTrouble: (error) => this.#onTrouble(part, error?.message),
    };
  }

  /** Temporal's connections show nobody the server's certificate: it is looked at beside them. */
  temporalWatch(): TemporalWatch {
    const watch = this.watchOf('temporal');
    let settings: TemporalSettings | undefined;
    let isUnreadable = false;
    const probe = () => settings && probeServer(settings, watch);
    this.#timers.push(setInterval(probe, PROBE_EVERY_MS).unref());
    return {
      onConnected(found) {
        settings = found;
        const { serverRootCACertificate, clientCertPair } = temporalTlsOf(found.connectionOptions);
        const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('utf8');
        const ours = clientCertPair ? { cert: text(clientCertPair.crt) } : {};
        const material = { ...ours, ...(serverRootCACertificate && { ca: text(serverRootCACertificate) }) };
        try {
          for (const facts of certificateFacts(material)) watch.onCertificate(facts);
          if (isUnreadable) watch.onTrouble(undefined);
          isUnreadable = false;
        } catch (error) {
          isUnreadable = true;
          watch.onTrouble(error as Error); // a TlsFilesError; Temporal's own client has taken the files
        }
        probe();
      },
      onTrouble: (error) => watch.onTrouble(error && new Error(error.detail)),
    };
  }

  close(): void {
    for (const timer of this.#timers) clearInterval(timer);
  }

  async #context(part: TlsPart, source: TlsSource | undefined): Promise<TlsContext | undefined> {
    if (source === undefined || 'onConnected' in source) return source;
    const context = createTlsContext(source, this.watchOf(part));
    await context.current().catch((cause: unknown) => {
      throw unusableTlsFile(part, source, cause);
    });
    this.#contexts.set(part, context);
    return context;
  }

  async #lookAgain(): Promise<void> {
    // Also of those that nobody uses at the moment.
    await Promise.all([...this.#contexts.values()].map((context) => context.current().catch(() => undefined)));
    this.#look();
  }

  #onCertificate(part: CertificatePart, facts: CertificateFacts): void {
    const { kind, notAfter, fingerprint } = facts;
    const before = this.#known.get(`${part}/${kind}`);
    this.#known.set(`${part}/${kind}`, { part, ...facts });
    this.#options.metrics.setCertificate(part, kind, notAfter);
    // Servers behind one name may have a certificate each.
    if (before && before.fingerprint !== fingerprint && kind !== 'server') {
      this.#options.logger.info(
        { part, kind, notAfter: notAfter.toISOString() },
        'another certificate counts from now on',
      );
      const detail = { part, kind, fingerprint: `sha256:${fingerprint}`, notAfter: notAfter.toISOString() } as const;
      this.#write('certificate.changed', detail, 'succeeded');
    }
    this.#look();
  }

  #onTrouble(part: CertificatePart, said: string | undefined): void {
    if (said === undefined) {
      this.#unusable.delete(part);
      this.#options.logger.info({ part }, 'the files of its certificates can be used again');
    } else {
      this.#unusable.set(part, said);
      this.#options.logger.error({ alert: 'part-unhealthy', part, said }, 'changed certificate files cannot be used');
      this.#write('certificate.unusable', { part, said }, 'failed');
    }
    this.#look();
  }

  /** Says how things stand now. */
  #look(): void {
    const now = this.#options.now().getTime();
    const left = (one: Known) => one.notAfter.getTime() - now;
    const ending = [...this.#known.values()].filter((one) => left(one) < warnBeforeMs(one));
    const ended = ending.filter((one) => left(one) <= 0);
    for (const one of ending) this.#tell(one, left(one));
    const names = (some: readonly Known[]) => some.map(({ part, kind }) => `${part} ${kind}`).join(', ');
    const sentence =
      ended.length > 0
        ? `Certificates have ended: ${names(ended)}.`
        : this.#unusable.size > 0
          ? `Changed certificate files cannot be used: ${[...this.#unusable.keys()].join(', ')}.`
          : ending.length > 0
            ? `Certificates end soon: ${names(ending)}.`
            : undefined;
    this.#options.health.report(
      'certificates',
      sentence === undefined ? { state: 'ok' } : { state: 'degraded', sentence },
    );
  }

  /** Once for each certificate, and once more when it has ended. */
  #tell({ part, kind, notAfter, fingerprint }: Known, leftMs: number): void {
    const occasion = `${part}/${kind}/${fingerprint}/${leftMs <= 0 ? 'ended' : 'ending'}`;
    if (!this.#record || this.#told.has(occasion)) return;
    this.#told.add(occasion);
    const daysLeft = Math.max(0, Math.floor(leftMs / DAY_MS));
    const detail = { part, kind, notAfter: notAfter.toISOString(), daysLeft };
    this.#options.logger.error({ alert: 'certificate-expiring', ...detail }, ALERTS['certificate-expiring'].summary);
    this.#write('certificate.expiring', detail, 'failed');
  }

  #write<T extends AuditEventType>(type: T, detail: DetailOf<T>, outcome: 'succeeded' | 'failed'): void {
    // What is not recorded is an alert of the audit log's own.
    this.#record?.(type, detail, { outcome }).catch(() => undefined);
  }
}

function warnBeforeMs({ notBefore, notAfter }: CertificateFacts): number {
  return Math.min(WARN_BEFORE_MS, (notAfter.getTime() - notBefore.getTime()) * WARN_SHARE);
}

function withTls<T extends { readonly tls?: TlsSource | undefined } | undefined>(
  settings: T,
  tls: TlsContext | undefined,
): T {
  return settings && tls ? { ...settings, tls } : settings;
}

/** A handshake for the sake of the certificate, with a server that is believed as Temporal's connections believe it. */
function probeServer({ address, connectionOptions }: TemporalSettings, watch: TlsWatch): void {
  if (!connectionOptions.tls) return;
  const { serverNameOverride, serverRootCACertificate: ca, clientCertPair } = temporalTlsOf(connectionOptions);
  const { host, port } = placeOf(address);
  const name = serverNameOverride ?? host;
  const socket = connect({
    host,
    port,
    ...(isIP(name) === 0 && { servername: name }),
    ALPNProtocols: ['h2'],
    ...(ca && { ca: Buffer.from(ca) }),
    ...(clientCertPair && { cert: Buffer.from(clientCertPair.crt), key: Buffer.from(clientCertPair.key) }),
    rejectUnauthorized: true,
    timeout: PROBE_WITHIN_MS,
  });
  socket.once('secureConnect', () => {
    const certificate = socket.getPeerX509Certificate();
    if (certificate) watch.onCertificate(serverFacts(certificate));
    socket.end();
  });
  for (const event of ['error', 'timeout'] as const) socket.once(event, () => socket.destroy()); // its own client tells
}
