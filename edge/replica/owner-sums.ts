/**
 * For each owner and table the number of its live rows and the sum over them, kept as rows change and written in the same
 * transaction. A digest is compared with these, so that it costs nothing how many rows there are; the scrub compares
 * these with the rows.
 */
import { RunningSum } from "../../control/contract/row-sum.ts";
import type { TableName } from "../../control/contract/rows.ts";
import type { SqlDatabase, SqlStatement } from "../runtime/sqlite-port.ts";

export interface TableSum {
  readonly rows: number;
  /** 32 hexadecimal digits. */
  readonly sum: string;
}

interface Running {
  readonly owner: string;
  readonly table: TableName;
  rows: number;
  /** The highest `published_ms` of what was taken, tombstones too. */
  newestMs: number;
  readonly sum: RunningSum;
}

export class OwnerSums {
  readonly #database: SqlDatabase;
  readonly #write: SqlStatement;
  readonly #owners = new Map<string, Map<TableName, Running>>();
  readonly #dirty = new Set<Running>();

  constructor(database: SqlDatabase) {
    this.#database = database;
    this.#write = database.prepare(`
      INSERT INTO sums (owner, table_name, rows, sum, newest_ms) VALUES (?, ?, ?, ?, ?)
      ON CONFLICT (owner, table_name) DO UPDATE SET rows = excluded.rows, sum = excluded.sum,
        newest_ms = excluded.newest_ms`);
    this.reload();
  }

  /** What is in the file is true again: a transaction was rolled back. */
  reload(): void {
    this.#owners.clear();
    this.#dirty.clear();
    for (
      const each of this.#database.prepare("SELECT owner, table_name, rows, sum, newest_ms FROM sums").all()
    ) {
      const owner = String(each.owner), table = each.table_name as TableName;
      this.#tablesOf(owner).set(table, {
        ...{ owner, table },
        rows: Number(each.rows),
        sum: new RunningSum(String(each.sum)),
        newestMs: Number(each.newest_ms),
      });
    }
  }

  /** @param by 1 for a row that comes, -1 for one that goes */
  toggle(owner: string, table: TableName, rowSum: string, by: 1 | -1): void {
    const running = this.#runningOf(owner, table);
    running.rows += by;
    running.sum.toggle(rowSum);
  }

  /** Something of this age was taken. */
  published(owner: string, table: TableName, publishedMs: number): void {
    const running = this.#runningOf(owner, table);
    running.newestMs = Math.max(running.newestMs, publishedMs);
  }

  /** Inside the transaction that changed the rows. */
  write(): void {
    for (const { owner, table, rows, sum, newestMs } of this.#dirty) {
      this.#write.run(owner, table, rows, sum.toString(), newestMs);
    }
    this.#dirty.clear();
  }

  of(owner: string): Map<TableName, TableSum> {
    const found = new Map<TableName, TableSum>();
    for (const [table, { rows, sum }] of this.#owners.get(owner) ?? []) {
      found.set(table, { rows, sum: sum.toString() });
    }
    return found;
  }

  rowsOf(owner: string): number {
    let all = 0;
    for (const { rows } of this.#owners.get(owner)?.values() ?? []) all += rows;
    return all;
  }

  /** By the owner's clock, of all that was taken of it; 0 where nothing was. */
  newestMsOf(owner: string): number {
    let newestMs = 0;
    for (const running of this.#owners.get(owner)?.values() ?? []) {
      newestMs = Math.max(newestMs, running.newestMs);
    }
    return newestMs;
  }

  rowsIn(table: TableName): number {
    let all = 0;
    for (const tables of this.#owners.values()) all += tables.get(table)?.rows ?? 0;
    return all;
  }

  owners(): string[] {
    return [...this.#owners.keys()];
  }

  #runningOf(owner: string, table: TableName): Running {
    const tables = this.#tablesOf(owner);
    let running = tables.get(table);
    if (running === undefined) {
      tables.set(table, running = { owner, table, rows: 0, sum: new RunningSum(), newestMs: 0 });
    }
    this.#dirty.add(running);
    return running;
  }

  #tablesOf(owner: string): Map<TableName, Running> {
    let tables = this.#owners.get(owner);
    if (tables === undefined) this.#owners.set(owner, tables = new Map());
    return tables;
  }
}
