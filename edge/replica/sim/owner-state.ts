/**
 * What an owner's database holds: rows with their versions, what is still to be published, and what has been, which its
 * digests are made of. It survives a crash of the owner's process; `restore` is a backup that was put back.
 */
import type { StateDigest, StateEvent, Version } from "../../../control/contract/events.ts";
import { EVENT_SCHEMA, isNewer } from "../../../control/contract/events.ts";
import { type RowOf, TABLE_NAMES, type TableName, TABLES } from "../../../control/contract/rows.ts";
import { rowSum, RunningSum } from "../../../control/contract/row-sum.ts";
import type { RowPlace } from "./row-model.ts";

export interface OwnedRow extends RowPlace {
  readonly version: Version;
  /** Null: deleted. */
  readonly row: RowOf<TableName> | null;
  readonly atMs: number;
}

interface Backup {
  readonly rows: Map<string, OwnedRow>;
}

export class OwnerState {
  readonly owner: string;
  readonly #rows = new Map<string, OwnedRow>();
  /** The newest version of each key that is in the stream for certain. */
  readonly #published = new Map<string, OwnedRow>();
  /** The newest deletion of each key that there ever was. */
  readonly #deletions = new Map<string, Version>();
  outbox: OwnedRow[] = [];
  #epoch = 1;
  #seq = 0;
  #floorEpoch = 1;
  #backup: Backup | null = null;
  #restores = 0;

  constructor(owner: string) {
    this.owner = owner;
  }

  // ── rows ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** @param row null: deletes; of a row that is not there: nothing happens */
  change(place: RowPlace, row: RowOf<TableName> | null, atMs: number): OwnedRow | null {
    const known = this.#rows.get(nameOf(place));
    if (row === null && (known === undefined || known.row === null)) return null;
    return this.#put(place, row, atMs);
  }

  #put({ table, key }: RowPlace, row: RowOf<TableName> | null, atMs: number): OwnedRow {
    const made = { table, key, version: { epoch: this.#epoch, seq: ++this.#seq }, row, atMs };
    this.#rows.set(nameOf(made), made);
    if (row === null) this.#deletions.set(nameOf(made), made.version);
    this.outbox.push(made);
    return made;
  }

  get(table: string, key: string): OwnedRow | undefined {
    return this.#rows.get(nameOf({ table, key }));
  }
  live(): OwnedRow[] {
    return [...this.#rows.values()].filter(({ row }) => row !== null);
  }
  all(): OwnedRow[] {
    return [...this.#rows.values()];
  }
  lastDeletion(table: string, key: string): Version | null {
    return this.#deletions.get(nameOf({ table, key })) ?? null;
  }

  // ── what has been published ────────────────────────────────────────────────────────────────────────────────────

  published(row: OwnedRow): void {
    const name = nameOf(row);
    const known = this.#published.get(name);
    if (known === undefined || isNewer(row.version, known.version)) this.#published.set(name, row);
  }

  digest(atMs: number): StateDigest {
    const tables: Record<string, { rows: number; sum: string }> = {};
    const scope = this.owner === "api" ? "global" : "region";
    for (const table of TABLE_NAMES) {
      if (TABLES[table].scope !== scope) continue;
      const sum = new RunningSum();
      let rows = 0;
      for (const each of this.#published.values()) {
        if (each.table !== table || each.row === null) continue;
        sum.toggle(rowSum(table, each.key, each.version));
        rows++;
      }
      tables[table] = { rows, sum: sum.toString() };
    }
    return {
      schema: EVENT_SCHEMA,
      owner: this.owner,
      tables,
      newest: { epoch: this.#epoch, seq: this.#seq },
      floor_epoch: this.#floorEpoch,
      published_ms: atMs,
    };
  }

  // ── histories ──────────────────────────────────────────────────────────────────────────────────────────────────

  /** Later changes count in a new epoch; nothing is lost. */
  beginEpoch(): void {
    this.#epoch++;
    this.#seq = 0;
  }

  backUp(): void {
    this.#backup = { rows: new Map(this.#rows) };
  }

  /** The database is as it was then, and counts in an epoch that was never used. @returns false: there is no backup */
  restore(atMs: number): boolean {
    if (this.#backup === null) return false;
    const { rows } = this.#backup;
    for (const [name, { version }] of this.#rows) {
      if (!isLive(rows.get(name))) this.#deletions.set(name, version);
    }
    this.beginEpoch();
    this.#floorEpoch = this.#epoch;
    this.#rows.clear();
    this.#published.clear();
    this.outbox = [];
    for (const row of rows.values()) if (row.row !== null) this.#put(row, row.row, atMs);
    this.#restores++;
    return true;
  }
  /** What was acknowledged before the last of them may be lost, and that is not the replication's fault. */
  get restores(): number {
    return this.#restores;
  }
}

export function eventOf(owner: string, { table, key, version, row, atMs }: OwnedRow): StateEvent {
  return {
    ...{ schema: EVENT_SCHEMA, owner, table, key, version, row, published_ms: atMs },
    deleted: row === null,
  };
}

export function nameOf({ table, key }: { readonly table: string; readonly key: string }): string {
  return `${table} ${key}`;
}

function isLive(row: OwnedRow | undefined): boolean {
  return row !== undefined && row.row !== null;
}
