/** Rows that stand in the configuration: an edge in front of given upstreams. They never change. */
import type { TableName } from "../../control/contract/rows.ts";
import type { RowChange } from "../routes/route-table.ts";
import { checkedRow } from "./checked-row.ts";
import type { RowSource, RowSourceStatus } from "./row-source.ts";

export class GivenRows implements RowSource {
  readonly #changes: RowChange[] = [];
  readonly #keys = new Set<string>();
  readonly #onChanges: (changes: RowChange[]) => void;

  /** @throws GodwitError `edge.row_invalid` */
  constructor(rows: readonly unknown[], onChanges: (changes: RowChange[]) => void) {
    this.#onChanges = onChanges;
    for (const entry of rows) {
      const { table, key, change } = checkedRow(entry);
      this.#keys.add(`${table} ${key}`);
      if (change !== null) this.#changes.push(change);
    }
  }

  start(): Promise<void> {
    this.#onChanges(this.#changes);
    return Promise.resolve();
  }
  stop(): Promise<void> {
    return Promise.resolve();
  }
  has(table: TableName, key: string): boolean {
    return this.#keys.has(`${table} ${key}`);
  }
  status(): RowSourceStatus {
    return { from: "given", connected: true, stale_ms: 0, quarantined: 0, gaps: 0, details: {} };
  }
}
