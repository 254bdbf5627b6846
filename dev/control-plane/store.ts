import { DatabaseSync } from 'node:sqlite';
import type { SignedHead } from '../../domain/audit-head.ts';
import type { Heartbeat, Registration, Signal } from '../../domain/control-plane.ts';
import type { Digest } from '../../domain/digest.ts';

/** One cluster as it is remembered. */
export interface ClusterRow {
  readonly registration: Registration;
  readonly registeredAt: number;
  readonly renewedAt: number;
  /** By this server's clock, ms since the epoch: what a cluster says of the time is its own affair. */
  readonly lastBeatAt: number | undefined;
  /** Without its heads, which are kept by themselves. */
  readonly lastBeat: Omit<Heartbeat, 'heads'> | undefined;
  /** Audit keys as they were pinned at the first registration, and those that came later. */
  readonly auditKeys: readonly string[];
}

/** Something that is wrong with a cluster's audit log, as its heads show. */
export interface Alarm {
  readonly kind: 'truncated' | 'forked' | 'rewritten' | 'silent' | 'forged' | 'foreign' | 'key-changed';
  readonly chain: string;
  readonly expected: string;
  readonly found: string;
}

const SCHEMA = `
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = FULL; -- what was answered 202 is kept for good
  CREATE TABLE IF NOT EXISTS clusters (
    id TEXT PRIMARY KEY, registration TEXT NOT NULL, audit_keys TEXT NOT NULL, registered_at INTEGER NOT NULL,
    renewed_at INTEGER NOT NULL, last_beat_at INTEGER, last_beat TEXT
  ) STRICT;
  CREATE TABLE IF NOT EXISTS revocations (cluster TEXT PRIMARY KEY, issued_before INTEGER NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS beats (cluster TEXT NOT NULL, at INTEGER NOT NULL, body TEXT NOT NULL) STRICT;
  CREATE INDEX IF NOT EXISTS beats_by_time ON beats (cluster, at);
  CREATE TABLE IF NOT EXISTS heads (
    cluster TEXT NOT NULL, chain TEXT NOT NULL, seq INTEGER NOT NULL, signed TEXT NOT NULL, seen_at INTEGER NOT NULL,
    PRIMARY KEY (cluster, chain, seq)
  ) STRICT;
  CREATE TABLE IF NOT EXISTS signals (
    cluster TEXT NOT NULL, key TEXT NOT NULL, kind TEXT NOT NULL, digest TEXT NOT NULL, body TEXT NOT NULL,
    received_at INTEGER NOT NULL, PRIMARY KEY (cluster, key)
  ) STRICT;
  CREATE TABLE IF NOT EXISTS alarms (
    cluster TEXT NOT NULL, at INTEGER NOT NULL, kind TEXT NOT NULL, chain TEXT NOT NULL, expected TEXT NOT NULL,
    found TEXT NOT NULL, UNIQUE (cluster, kind, chain, expected)
  ) STRICT;
`;

const DAY_MS = 24 * 3_600_000;

/** All that the control plane remembers, in one SQLite file. */
export class Store {
  readonly #db: DatabaseSync;

  constructor(file: string) {
    this.#db = new DatabaseSync(file);
    this.#db.exec(SCHEMA);
  }

  cluster(id: string): ClusterRow | undefined {
    const row = this.#db.prepare('SELECT * FROM clusters WHERE id = ?').get(id);
    return row && clusterOf(row);
  }

  clusters(): ClusterRow[] {
    return this.#db.prepare('SELECT * FROM clusters ORDER BY id').all().map(clusterOf);
  }

  /** @returns whether it is new */
  register(registration: Registration, auditKeys: readonly string[], now: number): boolean {
    const isNew = this.cluster(registration.clusterId) === undefined;
    this.#db
      .prepare(
        `INSERT INTO clusters (id, registration, audit_keys, registered_at, renewed_at) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (id) DO UPDATE SET registration = excluded.registration, audit_keys = excluded.audit_keys,
         renewed_at = excluded.renewed_at`,
      )
      .run(registration.clusterId, JSON.stringify(registration), JSON.stringify(auditKeys), now, now);
    return isNew;
  }

  forget(id: string): void {
    this.#db.prepare('DELETE FROM clusters WHERE id = ?').run(id);
  }

  /** From now on tokens that were issued before a time, in seconds, are refused; stays when the cluster is forgotten. */
  revokeTokens(id: string, issuedBefore: number): void {
    this.#db
      .prepare(
        'INSERT INTO revocations VALUES (?, ?) ON CONFLICT (cluster) DO UPDATE SET issued_before = excluded.issued_before',
      )
      .run(id, issuedBefore);
  }

  isRevoked(id: string, issuedAt: number): boolean {
    const row = this.#db.prepare('SELECT issued_before FROM revocations WHERE cluster = ?').get(id);
    return row !== undefined && issuedAt < Number(row['issued_before']);
  }

  beat({ heads: _, ...beat }: Heartbeat, now: number): void {
    const text = JSON.stringify(beat);
    this.#db.prepare('UPDATE clusters SET last_beat_at = ?, last_beat = ? WHERE id = ?').run(now, text, beat.clusterId);
    this.#db.prepare('INSERT INTO beats VALUES (?, ?, ?)').run(beat.clusterId, now, text);
    this.#db.prepare('DELETE FROM beats WHERE cluster = ? AND at < ?').run(beat.clusterId, now - DAY_MS);
  }

  /** When beats came within the last 24 hours, oldest first, ms since the epoch. */
  beatTimes(id: string): number[] {
    return this.#db
      .prepare('SELECT at FROM beats WHERE cluster = ? ORDER BY at')
      .all(id)
      .map(({ at }) => Number(at));
  }

  saveHead(cluster: string, signed: SignedHead, now: number): void {
    const { chain, seq } = signed.head;
    this.#db
      .prepare('INSERT OR IGNORE INTO heads VALUES (?, ?, ?, ?, ?)')
      .run(cluster, chain, seq, JSON.stringify(signed), now);
  }

  /** Of a cluster, in the order in which they came. */
  heads(cluster: string): { readonly signed: SignedHead; readonly seenAt: number }[] {
    const rows = this.#db.prepare('SELECT signed, seen_at FROM heads WHERE cluster = ? ORDER BY rowid').all(cluster);
    return rows.map((row) => ({ signed: JSON.parse(String(row['signed'])), seenAt: Number(row['seen_at']) }));
  }

  /** @returns `conflict` where the key was used for something else */
  saveSignal(signal: Signal, key: string, digest: Digest, now: number): 'kept' | 'known' | 'conflict' {
    const { clusterId, kind } = signal;
    const known = this.#db.prepare('SELECT digest FROM signals WHERE cluster = ? AND key = ?').get(clusterId, key);
    if (known) return known['digest'] === digest ? 'known' : 'conflict';
    this.#db
      .prepare('INSERT INTO signals VALUES (?, ?, ?, ?, ?, ?)')
      .run(clusterId, key, kind, digest, JSON.stringify(signal), now);
    this.#db
      .prepare("DELETE FROM signals WHERE cluster = ? AND kind = 'metrics' AND received_at < ?")
      .run(clusterId, now - DAY_MS);
    return 'kept';
  }

  /** In the order in which they came. */
  signals(id: string, kind: Signal['kind']): { readonly receivedAt: number; readonly signal: Signal }[] {
    return this.#db
      .prepare('SELECT body, received_at FROM signals WHERE cluster = ? AND kind = ? ORDER BY rowid')
      .all(id, kind)
      .map((row) => ({ receivedAt: Number(row['received_at']), signal: JSON.parse(String(row['body'])) as Signal }));
  }

  /** The same alarm again is not another one. */
  alarm(cluster: string, { kind, chain, expected, found }: Alarm, now: number): void {
    this.#db
      .prepare('INSERT OR IGNORE INTO alarms VALUES (?, ?, ?, ?, ?, ?)')
      .run(cluster, now, kind, chain, expected, found);
  }

  alarms(id: string): (Alarm & { readonly at: number })[] {
    return this.#db
      .prepare('SELECT at, kind, chain, expected, found FROM alarms WHERE cluster = ? ORDER BY rowid')
      .all(id) as unknown as (Alarm & { readonly at: number })[]; // as the table has them
  }

  close(): void {
    this.#db.close();
  }
}

function clusterOf(row: Record<string, unknown>): ClusterRow {
  const { registration, audit_keys, registered_at, renewed_at, last_beat_at, last_beat } = row;
  return {
    registration: JSON.parse(String(registration)),
    auditKeys: JSON.parse(String(audit_keys)),
    registeredAt: Number(registered_at),
    renewedAt: Number(renewed_at),
    lastBeatAt: last_beat_at === null ? undefined : Number(last_beat_at),
    lastBeat: last_beat === null ? undefined : JSON.parse(String(last_beat)),
  };
}
