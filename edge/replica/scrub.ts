/**
 * Reads the whole file again, slice by slice, to find what the disk or a stranger has changed: each row against its
 * checksum, and the rows together against the sums that were kept as they came. Between two slices the writer goes on.
 * What it changes behind the place that has been read counts here too, so that at a table's end both sums are of the same
 * moment, without a transaction that stays open, under which the write-ahead log would grow.
 *
 * It reads over a connection of its own: the writer's may have pages in memory that are no longer what the disk holds.
 */
import { messageOf } from "../../control/contract/errors.ts";
import { rowSum, RunningSum } from "../../control/contract/row-sum.ts";
import { TABLE_NAMES, type TableName } from "../../control/contract/rows.ts";
import type { SqlDatabase, SqlStatement } from "../runtime/sqlite-port.ts";
import type { TableDifference } from "./compare-digest.ts";
import { isCorruption } from "./open-store.ts";
import type { TableSum } from "./owner-sums.ts";
import type { ReplicaStore } from "./replica-store.ts";
import { rowChecksum, type StoredRow } from "./row-checksum.ts";
import { SCRUB_SHARE, scrubShare } from "./scrub-pace.ts";

export const SLICE_MS = 4;
const SLICE_ROWS_MIN = 32;
const SLICE_ROWS_MAX = 4_096;
export const FINDINGS_MAX = 50;

export interface ScrubOptions {
  readonly store: ReplicaStore;
  /** A connection to the same file; closed at the end. */
  readonly open: () => SqlDatabase | null;
  /** Stream → where the follower stands; null: not looked at. */
  readonly positions: (() => ReadonlyMap<string, string>) | null;
  readonly nowMs: () => number;
  readonly wallMs: () => number;
  readonly pause: (ms: number, signal?: AbortSignal) => Promise<void>;
  readonly signal: AbortSignal;
  /** Of this process' time, at least. @default SCRUB_SHARE */
  readonly share?: number;
  /** More of it is taken where the pass would take longer. @default as long as it takes */
  readonly passMs?: number;
  /** Whether a tombstone of an owner is no longer needed; none are collected without it. */
  readonly mayForget?: (owner: string, publishedMs: number) => boolean;
}

export interface ScrubResult {
  readonly rows: number;
  readonly tookMs: number;
  readonly forgotten: number;
  /** In words; empty where all is right. Bounded. */
  readonly findings: readonly string[];
  readonly differences: readonly TableDifference[];
}

/** One pass; null where it was aborted, or could not be made. */
export async function scrub(options: ScrubOptions): Promise<ScrubResult | null> {
  const { store, nowMs } = options;
  const startedMs = nowMs();
  const pass = new Pass(options);
  let database: SqlDatabase | null = null;
  try {
    database = options.open();
    if (database === null) pass.found("the file is not there");
    else if (!await pass.run(database)) return null;
  } catch (error) {
    // A full disk, or a lock, says nothing about the rows.
    if (!isCorruption(error)) return null;
    pass.found(messageOf(error));
  } finally {
    store.onSums(null);
    database?.close();
  }
  const { rows, forgotten, findings, differences } = pass;
  return { rows, forgotten, findings, differences, tookMs: nowMs() - startedMs };
}

interface OwnersRows {
  rows: number;
  readonly sum: RunningSum;
}

class Pass {
  readonly #options: ScrubOptions;
  readonly findings: string[] = [];
  readonly differences: TableDifference[] = [];
  rows = 0;
  forgotten = 0;
  readonly #startedMs: number;
  #busyMs = 0;
  /** When it began, tombstones left out. */
  #rowsAll = 0;
  #sliceRows = SLICE_ROWS_MIN;

  constructor(options: ScrubOptions) {
    this.#options = options;
    this.#startedMs = options.nowMs();
  }

  found(what: string): void {
    if (this.findings.length < FINDINGS_MAX) this.findings.push(what);
  }

  async run(database: SqlDatabase): Promise<boolean> {
    // Its few pages in memory are of this pass alone.
    for (const pragma of ["query_only = 1", "cache_size = -256", "busy_timeout = 1000"]) {
      database.exec(`PRAGMA ${pragma}`);
    }
    for (const table of TABLE_NAMES) this.#rowsAll += this.#options.store.sums.rowsIn(table);
    for (const table of TABLE_NAMES) if (!await this.#runTable(database, table)) return false;
    this.#comparePositions(database);
    return true;
  }

  async #runTable(database: SqlDatabase, table: TableName): Promise<boolean> {
    const { store, nowMs, pause, signal } = this.#options;
    const page = database.prepare(`
      SELECT key, owner, epoch, seq, deleted, published_ms, row, checksum FROM ${table}
      WHERE key > ? ORDER BY key LIMIT ?`);
    const stored = database.prepare("SELECT owner, rows, sum FROM sums WHERE table_name = ?");
    const owners = new Map<string, OwnersRows>();
    let cursor = "";
    store.onSums((changed, key, owner, sum, by) => {
      // Keys of live rows are ASCII, so that this is SQLite's order.
      if (changed === table && key <= cursor) toggle(owners, owner, sum, by);
    });
    for (;;) {
      const startedMs = nowMs();
      const rows = page.all(cursor, this.#sliceRows) as unknown as (StoredRow & { checksum: number })[];
      const due = this.#read(table, rows, owners);
      cursor = rows.at(-1)?.key ?? cursor;
      if (rows.length < this.#sliceRows) {
        this.#compare(table, owners, stored);
        store.onSums(null);
        return true;
      }
      if (due.length > 0) store.forget(table, due, this.#options.wallMs());
      this.forgotten += due.length;
      const tookMs = nowMs() - startedMs;
      this.#sliceRows = Math.max(
        SLICE_ROWS_MIN,
        Math.min(SLICE_ROWS_MAX, tookMs > SLICE_MS ? this.#sliceRows >> 1 : this.#sliceRows << 1),
      );
      this.#busyMs += tookMs;
      const share = this.#share();
      await pause(share >= 1 ? 0 : tookMs * (1 - share) / share, signal);
      if (signal.aborted) return false;
    }
  }

  #share(): number {
    const { nowMs, share = SCRUB_SHARE, passMs } = this.#options;
    if (passMs === undefined) return share;
    const msLeft = this.#startedMs + passMs - nowMs();
    return scrubShare(
      { rowsRead: this.rows, rowsAll: this.#rowsAll, busyMs: this.#busyMs, msLeft },
      share,
    );
  }

  #read(
    table: TableName,
    rows: readonly (StoredRow & { checksum: number })[],
    owners: Map<string, OwnersRows>,
  ): StoredRow[] {
    const { mayForget } = this.#options;
    const due: StoredRow[] = [];
    for (const row of rows) {
      this.rows++;
      if (rowChecksum(row) !== row.checksum) this.found(`${table} ${JSON.stringify(row.key)} is damaged`);
      if (row.deleted === 0) toggle(owners, row.owner, rowSum(table, row.key, row), 1);
      else if (mayForget?.(row.owner, row.published_ms) === true) due.push(row);
    }
    return due;
  }

  /** With what the file says the sums are, and with what its writer believes. */
  #compare(table: TableName, owners: ReadonlyMap<string, OwnersRows>, stored: SqlStatement): void {
    const { sums } = this.#options.store;
    const written = new Map(
      stored.all(table).map((each) => [
        String(each.owner),
        { rows: Number(each.rows), sum: String(each.sum) },
      ]),
    );
    for (const owner of new Set([...sums.owners(), ...written.keys(), ...owners.keys()])) {
      const read = owners.get(owner);
      const found: TableSum = { rows: read?.rows ?? 0, sum: (read?.sum ?? new RunningSum()).toString() };
      const none: TableSum = { rows: 0, sum: new RunningSum().toString() };
      for (const expected of [sums.of(owner).get(table) ?? none, written.get(owner) ?? none]) {
        if (expected.rows === found.rows && expected.sum === found.sum) continue;
        this.found(`${table} of ${owner}: ${found.rows} rows where ${expected.rows} were written`);
        if (this.differences.length < FINDINGS_MAX) this.differences.push({ owner, table, expected, found });
        break;
      }
    }
  }

  #comparePositions(database: SqlDatabase): void {
    const positions = this.#options.positions?.();
    if (positions === undefined) return;
    for (const { name, position } of database.prepare("SELECT name, position FROM streams").all()) {
      const here = positions.get(String(name));
      if (here !== undefined && here !== position) {
        this.found(`the position in ${name} is ${position} in the file, and ${here} in its follower`);
      }
    }
  }
}

function toggle(owners: Map<string, OwnersRows>, owner: string, sum: string, by: 1 | -1): void {
  let running = owners.get(owner);
  if (running === undefined) owners.set(owner, running = { rows: 0, sum: new RunningSum() });
  running.rows += by;
  running.sum.toggle(sum);
}
