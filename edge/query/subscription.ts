/** One statement that is looked at again whenever a table that it reads has changed, and those who watch it. */
import { randomBytes } from "node:crypto";
import { type Change, compareRows, type HeldRow, type RowSet } from "./row-set.ts";
import type { Answer, Parameter } from "./run-statement.ts";

export interface Watched {
  readonly sql: string;
  readonly params: readonly Parameter[];
  /** Names of columns that tell rows apart; null: `key` where there is one, else all. */
  readonly key: readonly string[] | null;
}

export interface NumberedChange extends Change {
  readonly cursor: string;
}

export interface Watcher {
  changed(changes: readonly NumberedChange[]): void;
}

/** Whoever comes back with a cursor that is not reached any more, or that another subscription gave out. */
export const GONE = Symbol("the cursor is gone");

export class Subscription {
  readonly watched: Watched;
  readonly watchers = new Set<Watcher>();
  /** Begins each of its cursors, so that those of an earlier life are known for such. */
  readonly #life = randomBytes(6).toString("hex");
  readonly #kept: NumberedChange[] = [];
  readonly #keptMax: number;
  readonly #keptBytesMax: number;
  #keptBytes = 0;
  #sequence = 0;
  #rows: RowSet = new Map();
  #nextId = 1;
  #reads: ReadonlySet<string> | null = null;
  #columns: readonly string[] = [];
  #keyColumns: readonly number[] = [];
  /** Since when nobody watches it; null while somebody does. */
  leftMs: number | null = null;

  constructor(watched: Watched, keptMax: number, keptBytesMax: number) {
    this.watched = watched;
    this.#keptMax = keptMax;
    this.#keptBytesMax = keptBytesMax;
  }

  get columns(): readonly string[] {
    return this.#columns;
  }
  get keyColumns(): readonly string[] {
    return this.#keyColumns.map((at) => this.#columns[at]!);
  }
  get rows(): Iterable<HeldRow> {
    return this.#rows.values();
  }
  get cursor(): string {
    return `${this.#life}.${this.#sequence}`;
  }

  /** Until it has been looked at, it is not known what it reads. */
  reads(tables: ReadonlySet<string>): boolean {
    if (this.#reads === null) return true;
    for (const table of this.#reads) if (tables.has(table)) return true;
    return false;
  }

  /** The first time the rows are a snapshot, and nobody is told. */
  take({ columns, reads, rows }: Answer): void {
    const first = this.#reads === null;
    this.#reads = new Set(reads);
    if (first) {
      this.#columns = columns;
      this.#keyColumns = keyColumnsOf(columns, this.watched.key);
    }
    const { after, changes, nextId } = compareRows(this.#rows, rows, this.#keyColumns, this.#nextId);
    this.#rows = after;
    this.#nextId = nextId;
    if (first || changes.length === 0) return;
    const numbered = changes.map((change) => ({ ...change, cursor: `${this.#life}.${++this.#sequence}` }));
    this.#keep(numbered);
    for (const watcher of this.watchers) watcher.changed(numbered);
  }

  since(cursor: string): readonly NumberedChange[] | typeof GONE {
    const [life, digits = ""] = cursor.split(".");
    const sequence = Number(digits);
    const oldest = this.#sequence - this.#kept.length;
    if (life !== this.#life || !/^\d+$/.test(digits) || sequence < oldest || sequence > this.#sequence) {
      return GONE;
    }
    return this.#kept.slice(sequence - oldest);
  }

  #keep(changes: readonly NumberedChange[]): void {
    for (const change of changes) {
      this.#kept.push(change);
      this.#keptBytes += change.values.length;
    }
    let forgotten = 0;
    while (this.#kept.length - forgotten > this.#keptMax || this.#keptBytes > this.#keptBytesMax) {
      this.#keptBytes -= this.#kept[forgotten++]!.values.length;
    }
    this.#kept.splice(0, forgotten);
  }
}

/** @throws RangeError where the statement has no such column */
function keyColumnsOf(columns: readonly string[], key: readonly string[] | null): number[] {
  if (key === null) {
    const at = columns.indexOf("key");
    return at < 0 ? [] : [at];
  }
  return key.map((name) => {
    const at = columns.indexOf(name);
    if (at < 0) throw new RangeError(`${name} is none of ${columns.join(", ")}`);
    return at;
  });
}
