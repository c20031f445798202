/**
 * The replica's SQLite file: one table for each table of the contract, the position in each stream, sums, digests and the
 * quarantine. All that a batch changes is one transaction, so that a crash repeats a batch or does not, and versions make
 * the repetition harmless. See README.md here for the schema.
 */
import {
  GLOBAL_STREAM,
  regionStream,
  type StateDigest,
  type StateEvent,
  type Version,
} from "../../control/contract/events.ts";
import { rowSum, RunningSum } from "../../control/contract/row-sum.ts";
import { TABLE_NAMES, type TableName, TABLES } from "../../control/contract/rows.ts";
import type { SqlDatabase, SqlStatement, SqlValue } from "../runtime/sqlite-port.ts";
import { compareDigest, type TableDifference, tablesOf } from "./compare-digest.ts";
import { DigestStates } from "./digest-states.ts";
import { INCIDENTS_KEPT_MAX } from "./incidents.ts";
import type { OwnerState } from "./judge-generation.ts";
import { OwnerSums, type TableSum } from "./owner-sums.ts";
import { makeTables } from "./replica-schema.ts";
import { rowChecksum, type StoredRow } from "./row-checksum.ts";
import {
  type HistoryLimits,
  NO_HISTORY,
  PastRows,
  type PastVersion,
  type RowAt,
  RowHistory,
} from "./row-history.ts";
import { StoredRows } from "./stored-rows.ts";
import { compareIds, START } from "./stream-gap.ts";

export { REPLICA_SCHEMA } from "./replica-schema.ts";
export const QUARANTINE_ROWS_MAX = 1_000;
export const QUARANTINE_EVENT_BYTES_MAX = 4_096;
/** Owners may be invented by whoever can write to Redis. */
export const UNBELIEVED_ROWS_MAX = 10_000;
/** The epoch of a row that is only known to be gone: any version of it is newer. */
const GONE_EPOCH = -1;

export interface QuarantinedEvent {
  readonly stream: string;
  readonly entryId: string;
  readonly reason: string;
  readonly detail: string;
  readonly event: string;
}

/** An event whose table and row have been validated. */
export interface ValidEvent {
  readonly table: TableName;
  readonly event: StateEvent;
}

export type Step =
  | { readonly valid: ValidEvent }
  /** To be compared with what the steps before it have made. */
  | { readonly digest: StateDigest; readonly entryId: string };

export interface StreamBatch {
  readonly stream: string;
  /** The last entry's id. */
  readonly position: string;
  /** The furthest that this stream was ever read; `position` unless it is read again. */
  readonly furthest: string;
  /** In the order of the stream. */
  readonly steps: readonly Step[];
  readonly refused: readonly QuarantinedEvent[];
  /** Owners whose entries were not believed for want of the right key, and the position before the first of them. */
  readonly unbelieved: readonly { readonly owner: string; readonly before: string }[];
}

export interface ComparedDigest {
  readonly owner: string;
  readonly entryId: string;
  readonly differences: readonly TableDifference[];
  /** It was not so at the digest before. */
  readonly news: boolean;
}

export interface Taken {
  readonly changed: ValidEvent[];
  /** Events that came again, or too late. */
  readonly old: number;
  readonly compared: ComparedDigest[];
  /** Streams to be read again, from here: the key of an owner has come whose entries were not believed. */
  readonly rewound: ReadonlyMap<string, string>;
}

/** A row's sum has come to an owner's, or has gone from it. */
export type SumListener = (table: TableName, key: string, owner: string, sum: string, by: 1 | -1) => void;

interface LostRow {
  readonly table: TableName;
  readonly key: string;
  readonly version: Version;
}

interface TableStatements {
  readonly version: SqlStatement;
  readonly upsert: SqlStatement;
  readonly forget: SqlStatement;
}

export class ReplicaStore extends StoredRows {
  readonly #database: SqlDatabase;
  readonly #tables = new Map<TableName, TableStatements>();
  readonly #setPosition: SqlStatement;
  readonly #quarantine: SqlStatement;
  readonly #trimQuarantine: SqlStatement;
  readonly #begin: SqlStatement;
  readonly #commit: SqlStatement;
  readonly #rollback: SqlStatement;
  readonly history: RowHistory;
  #past: PastRows | null = null;
  readonly sums: OwnerSums;
  readonly digests: DigestStates;
  #sumListener: SumListener | null = null;
  #toggles: Parameters<SumListener>[] = [];
  #changed: ValidEvent[] = [];
  /** Tombstones of each table; null until somebody asks. */
  #tombstones: Map<TableName, number> | null = null;

  constructor(database: SqlDatabase, history: HistoryLimits = NO_HISTORY) {
    super(database);
    this.#database = database;
    for (const table of TABLE_NAMES) this.#tables.set(table, prepareTable(database, table));
    this.#setPosition = database.prepare(`
      INSERT INTO streams (name, position, furthest) VALUES (?, ?, ?)
      ON CONFLICT (name) DO UPDATE SET position = excluded.position, furthest = excluded.furthest`);
    this.#quarantine = database.prepare(
      "INSERT INTO quarantine (stream, entry_id, reason, detail, event, at_ms) VALUES (?, ?, ?, ?, ?, ?)",
    );
    this.#trimQuarantine = database.prepare(
      "DELETE FROM quarantine WHERE id <= (SELECT max(id) FROM quarantine) - ?",
    );
    this.#begin = database.prepare("BEGIN IMMEDIATE");
    this.#commit = database.prepare("COMMIT");
    this.#rollback = database.prepare("ROLLBACK");
    this.history = new RowHistory(database, history);
    this.sums = new OwnerSums(database);
    this.digests = new DigestStates(database);
  }

  // ── what changes it ────────────────────────────────────────────────────────────────────────────────────────────

  /** One transaction: events that are newer than what is there, digests compared, refused events, the position. */
  take(batch: StreamBatch, nowMs: number): Taken {
    const { stream, position, furthest } = batch;
    return this.#inTransaction(() => {
      const compared: ComparedDigest[] = [];
      let old = 0;
      for (const step of batch.steps) {
        if ("digest" in step) compared.push(this.#compare(stream, step.entryId, step.digest, nowMs));
        else if (!this.#put(step.valid, nowMs)) old++;
      }
      this.#refuse(batch.refused, nowMs);
      this.#setPosition.run(stream, position, furthest);
      for (const { owner, before } of batch.unbelieved) this.#remember(owner, stream, before);
      const rewound = this.#rewind();
      return { changed: this.#changed, old, compared, rewound };
    }, nowMs);
  }

  /** A batch without digests. @returns those events that changed a row */
  apply(
    stream: string,
    position: string,
    events: readonly ValidEvent[],
    refused: readonly QuarantinedEvent[],
    nowMs: number,
  ): ValidEvent[] {
    const steps = events.map((valid) => ({ valid }));
    return this.take({ stream, position, furthest: position, steps, refused, unbelieved: [] }, nowMs).changed;
  }

  /** Rows of another generation. @returns how many were newer than what is here */
  carry(rows: readonly ValidEvent[], nowMs: number): number {
    return this.#inTransaction(() => rows.filter((row) => this.#put(row, nowMs, "carried")).length, nowMs);
  }

  /** Rows that another generation has as another version: from now on they are what this one has. */
  noteTurned(table: TableName, keys: readonly string[], nowMs: number): void {
    if (this.history.limits.rowsMax === 0) return;
    const find = this.#database.prepare(`SELECT epoch, seq, row FROM ${table} WHERE key = ?`);
    this.#inTransaction(() => {
      for (const key of keys) {
        const [found] = find.all(key);
        if (found === undefined) continue;
        const version = { epoch: Number(found.epoch), seq: Number(found.seq) };
        const row = found.row === null ? null : JSON.parse(String(found.row)) as Record<string, unknown>;
        this.history.record(table, { key, version, row }, nowMs);
      }
    }, nowMs);
  }

  /** Of a generation that serves. @see RowHistory.page */
  pastPage(beforeId: number, rowsMax: number): PastVersion[] {
    return this.history.page(beforeId, rowsMax);
  }
  prependPast(versions: readonly PastVersion[], nowMs: number): void {
    this.#inTransaction(() => this.history.prepend(versions), nowMs);
  }

  /** Rows that another generation has live and this one knows nothing of: readers are to find that they are gone. */
  markGone(table: TableName, keys: readonly { key: string; owner: string }[], nowMs: number): void {
    this.#inTransaction(() => {
      for (const { key, owner } of keys) {
        if (this.#tables.get(table)!.version.all(key).length > 0) continue;
        const gone = { key, owner, epoch: GONE_EPOCH, seq: 0, deleted: 1, published_ms: nowMs, row: null };
        this.#write(table, gone);
        this.#buried(table, 1);
        this.history.record(table, { key, version: { epoch: GONE_EPOCH, seq: 0 }, row: null }, nowMs);
      }
    }, nowMs);
  }

  /** Tombstones that nobody can need any more, where they are still what they were. */
  forget(
    table: TableName,
    tombstones: readonly Pick<StoredRow, "key" | "epoch" | "seq">[],
    nowMs: number,
  ): void {
    if (tombstones.length === 0) return;
    this.#inTransaction(() => {
      const { forget } = this.#tables.get(table)!;
      for (const { key, epoch, seq } of tombstones) this.#buried(table, -forget.run(key, epoch, seq));
    }, nowMs);
  }

  /** To be read again from the start, in a life that has nothing to do with the one before. */
  restart(stream: string, nowMs: number): void {
    this.#inTransaction(() => void this.#setPosition.run(stream, START, START), nowMs);
  }

  /** Whether a stream was followed that is not any more. */
  followedMoreThan(regions: readonly string[]): boolean {
    const streams = new Set([GLOBAL_STREAM, ...regions.map(regionStream)]);
    return regions.length > 0 && [...this.positions().keys()].some((name) => !streams.has(name));
  }

  /**
   * What another replica followed and this one does not is forgotten: nobody would keep it up to date.
   * @param regions empty: all are followed
   */
  keepRegions(regions: readonly string[], nowMs: number): void {
    if (regions.length === 0) return;
    const followed = JSON.stringify(regions), streams = JSON.stringify(regions.map(regionStream));
    this.#inTransaction(() => {
      for (const table of TABLE_NAMES) {
        if (TABLES[table].scope === "global") continue;
        const rows = this.#database.prepare(`
          DELETE FROM ${table} WHERE deleted = 0
            AND json_extract(row, '$.region') NOT IN (SELECT value FROM json_each(?))
          RETURNING key, owner, epoch, seq, deleted`).all(followed);
        for (const row of rows) this.#unsum(table, String(row.key), row);
      }
      const not = "<> ? AND %s NOT IN (SELECT value FROM json_each(?))";
      for (const [table, column] of [["streams", "name"], ["digests", "stream"], ["unbelieved", "stream"]]) {
        this.#database.prepare(`DELETE FROM ${table} WHERE ${column} ${not.replace("%s", column!)}`)
          .run(GLOBAL_STREAM, streams);
      }
    }, nowMs);
    this.digests.reload();
  }

  recordIncident(json: string): void {
    this.#database.prepare("INSERT INTO incidents (incident) VALUES (?)").run(json);
    this.#database.prepare("DELETE FROM incidents WHERE id <= (SELECT max(id) FROM incidents) - ?")
      .run(INCIDENTS_KEPT_MAX);
  }

  replaceIncidents(jsons: readonly string[]): void {
    this.#database.exec("DELETE FROM incidents");
    for (const json of jsons) this.recordIncident(json);
  }

  /** Hears of sums once they are committed; one listener at a time. */
  onSums(listener: SumListener | null): void {
    this.#sumListener = listener;
  }

  #inTransaction<T>(change: () => T, nowMs: number): T {
    this.#changed = [];
    this.#toggles = [];
    this.#begin.run();
    let result: T;
    try {
      result = change();
      this.sums.write();
      this.history.trim(nowMs);
      this.#commit.run();
    } catch (error) {
      try {
        this.#rollback.run();
        this.sums.reload();
        this.digests.reload();
        this.#tombstones = null;
      } catch {
        // A file that is damaged may refuse this too; the first error says more.
      }
      throw error;
    }
    if (this.#sumListener !== null) { for (const each of this.#toggles) this.#sumListener(...each); }
    return result;
  }

  /** @returns whether it is newer than what is here */
  #put(valid: ValidEvent, nowMs: number, how: "published" | "carried" = "published"): boolean {
    const { table, event } = valid;
    const { key, owner, version } = event;
    if (version.epoch < this.digests.floorOf(owner)) return false;
    const [before] = this.#tables.get(table)!.version.all(key);
    if (before !== undefined) {
      const epoch = Number(before.epoch);
      if (version.epoch < epoch || (version.epoch === epoch && version.seq <= Number(before.seq))) {
        return false;
      }
      this.#unsum(table, key, before);
    }
    this.#buried(table, (event.deleted ? 1 : 0) - Number(before?.deleted ?? 0));
    this.#write(table, {
      key,
      owner,
      epoch: version.epoch,
      seq: version.seq,
      deleted: event.deleted ? 1 : 0,
      published_ms: event.published_ms,
      row: event.row === null ? null : JSON.stringify(event.row),
    });
    if (!event.deleted) this.#toggle(table, key, owner, rowSum(table, key, version), 1);
    this.sums.published(owner, table, event.published_ms);
    // What is carried is as it was, unless something else was taken for it meanwhile.
    if (how === "published" || this.history.knows(table, key)) this.history.record(table, event, nowMs);
    this.#changed.push(valid);
    return true;
  }

  #write(table: TableName, stored: StoredRow): void {
    const { key, owner, epoch, seq, deleted, published_ms, row } = stored;
    const checksum = rowChecksum(stored);
    this.#tables.get(table)!.upsert.run(key, owner, epoch, seq, deleted, published_ms, row, checksum);
  }

  #unsum(table: TableName, key: string, { owner, epoch, seq, deleted }: Record<string, SqlValue>): void {
    if (deleted !== 0) return;
    const version = { epoch: Number(epoch), seq: Number(seq) };
    this.#toggle(table, key, String(owner), rowSum(table, key, version), -1);
  }

  #buried(table: TableName, by: number): void {
    if (this.#tombstones !== null) this.#tombstones.set(table, (this.#tombstones.get(table) ?? 0) + by);
  }

  #toggle(table: TableName, key: string, owner: string, sum: string, by: 1 | -1): void {
    this.sums.toggle(owner, table, sum, by);
    if (this.#sumListener !== null) this.#toggles.push([table, key, owner, sum, by]);
  }

  #compare(stream: string, entryId: string, digest: StateDigest, nowMs: number): ComparedDigest {
    const { owner } = digest;
    const lost = digest.floor_epoch > this.digests.floorOf(owner)
      ? this.#below(owner, digest.floor_epoch)
      : [];
    const held = this.sums.of(owner);
    let differences = compareDigest(digest, lost.length === 0 ? held : without(held, lost));
    if (differences.length === 0) this.#drop(owner, lost, nowMs);
    else if (lost.length > 0) differences = compareDigest(digest, held);
    // Where more than a lost history is missing, another generation has to tell which rows are gone.
    const floorEpoch = differences.length === 0 ? digest.floor_epoch : 0;
    const agrees = differences.length === 0;
    const before = this.digests.record(
      stream,
      entryId,
      { ...digest, floor_epoch: floorEpoch },
      agrees,
      nowMs,
    );
    const news = differences.length > 0 && before?.agrees !== false;
    return { owner, entryId, differences, news };
  }

  /** Rows of a history that their owner has lost: nothing will ever say that they are deleted. */
  #below(owner: string, floorEpoch: number): LostRow[] {
    // A worker's keys begin with its host's name, so there is no need to look at all of them.
    const host = owner.slice("worker:".length);
    const [from, to] = owner === "api" ? ["", "\u{10FFFF}"] : [host, `${host}0`];
    return tablesOf(owner).flatMap((table) =>
      this.#database.prepare(`
        SELECT key, owner, epoch, seq, deleted FROM ${table}
        WHERE key >= ? AND key < ? AND owner = ? AND deleted = 0 AND epoch < ?`)
        .all(from, to, owner, floorEpoch)
        .map(({ key, epoch, seq }) => ({
          table,
          key: String(key),
          version: { epoch: Number(epoch), seq: Number(seq) },
        }))
    );
  }

  #drop(owner: string, lost: readonly LostRow[], nowMs: number): void {
    for (const { table, key, version } of lost) {
      this.#toggle(table, key, owner, rowSum(table, key, version), -1);
      this.#buried(table, 1);
      this.#write(table, { key, owner, ...version, deleted: 1, published_ms: nowMs, row: null });
      const event: StateEvent = {
        schema: 1,
        ...{ owner, table, key, version, deleted: true, row: null, published_ms: nowMs },
      };
      this.history.record(table, event, nowMs);
      this.#changed.push({ table, event });
    }
  }

  #refuse(refused: readonly QuarantinedEvent[], nowMs: number): void {
    for (const { stream, entryId, reason, detail, event } of refused) {
      this.#quarantine.run(
        ...[stream, entryId, reason],
        ...[detail.slice(0, QUARANTINE_EVENT_BYTES_MAX), event.slice(0, QUARANTINE_EVENT_BYTES_MAX), nowMs],
      );
    }
    if (refused.length > 0) this.#trimQuarantine.run(QUARANTINE_ROWS_MAX);
  }

  // ── entries that wait for their owner's key ────────────────────────────────────────────────────────────────────

  #remember(owner: string, stream: string, before: string): void {
    const [{ many } = {}] = this.#database.prepare("SELECT count(*) AS many FROM unbelieved").all();
    if (Number(many) >= UNBELIEVED_ROWS_MAX) return;
    this.#database.prepare("INSERT OR IGNORE INTO unbelieved (owner, stream, before) VALUES (?, ?, ?)")
      .run(owner, stream, before);
  }

  #rewind(): Map<string, string> {
    const rewound = new Map<string, string>();
    for (const { table, event } of this.#changed) {
      if (table !== "publishers" || event.deleted) continue;
      const waiting = this.#database.prepare(
        "DELETE FROM unbelieved WHERE owner = ? RETURNING stream, before",
      )
        .all(event.key);
      for (const each of waiting) {
        const stream = String(each.stream), before = String(each.before);
        const position = rewound.get(stream) ?? this.positions().get(stream);
        if (position === undefined || compareIds(before, position) < 0) rewound.set(stream, before);
      }
    }
    for (const [stream, position] of rewound) {
      this.#database.prepare("UPDATE streams SET position = ? WHERE name = ?").run(position, stream);
    }
    return rewound;
  }

  // ── what is in it ──────────────────────────────────────────────────────────────────────────────────────────────

  /** @see PastRows.rowAt */
  rowAt(table: TableName, key: string, atMs: number): RowAt | null {
    return (this.#past ??= new PastRows(this.#database)).rowAt(table, key, atMs);
  }

  /** Counted once and then kept, since it is asked for every second. */
  counts(): Record<string, { rows: number; tombstones: number }> {
    const tombstones = this.#tombstones ??= new Map(TABLE_NAMES.map((table) => {
      const [row] = this.#database.prepare(`SELECT count(*) AS many FROM ${table} WHERE deleted = 1`).all();
      return [table, Number(row?.many ?? 0)];
    }));
    return Object.fromEntries(TABLE_NAMES.map((table) => [
      table,
      { rows: this.sums.rowsIn(table), tombstones: tombstones.get(table) ?? 0 },
    ]));
  }

  /** For each owner, how many live rows, how new they are, and what its newest digest said. */
  owners(): Map<string, OwnerState> {
    const owners = new Set([...this.sums.owners(), ...this.digests.all.keys()]);
    return new Map(
      [...owners].map((owner) => [owner, {
        rows: this.sums.rowsOf(owner),
        digest: this.digests.verdictOf(owner),
        digestMs: this.digests.publishedMsOf(owner),
        newestMs: Math.max(this.sums.newestMsOf(owner), this.digests.publishedMsOf(owner)),
      }]),
    );
  }
}

function without(held: ReadonlyMap<TableName, TableSum>, lost: readonly LostRow[]): Map<TableName, TableSum> {
  const left = new Map(held);
  for (const { table, key, version } of lost) {
    const { rows, sum } = left.get(table)!;
    const running = new RunningSum(sum);
    running.toggle(rowSum(table, key, version));
    left.set(table, { rows: rows - 1, sum: running.toString() });
  }
  return left;
}

function prepareTable(database: SqlDatabase, table: TableName): TableStatements {
  return {
    version: database.prepare(`SELECT owner, epoch, seq, deleted FROM ${table} WHERE key = ?`),
    upsert: database.prepare(`
      INSERT INTO ${table} (key, owner, epoch, seq, deleted, published_ms, row, checksum)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?)
      ON CONFLICT (key) DO UPDATE SET owner = excluded.owner, epoch = excluded.epoch, seq = excluded.seq,
        deleted = excluded.deleted, published_ms = excluded.published_ms, row = excluded.row,
        checksum = excluded.checksum`),
    forget: database.prepare(`DELETE FROM ${table} WHERE key = ? AND epoch = ? AND seq = ? AND deleted = 1`),
  };
}

/** Makes what is missing. */
export function storeIn(database: SqlDatabase, history: HistoryLimits = NO_HISTORY): ReplicaStore {
  makeTables(database);
  return new ReplicaStore(database, history);
}
