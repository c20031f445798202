/**
 * What stands in a replica's file, read by somebody who knows nothing but what ../README.md says of it. Everything that is
 * checked is checked against this, and not against what the code under test says of itself.
 */
import type { Version } from "../../../control/contract/events.ts";
import { TABLE_NAMES, type TableName } from "../../../control/contract/rows.ts";
import type { SqlDatabase } from "../../runtime/sqlite-port.ts";
import { nameOf } from "./owner-state.ts";

export interface SeenRow {
  readonly table: TableName;
  readonly key: string;
  readonly owner: string;
  readonly version: Version;
  /** JSON; null: deleted. */
  readonly row: string | null;
}

/** By `nameOf`. */
export type ReplicaView = ReadonlyMap<string, SeenRow>;

export function readView(database: SqlDatabase): ReplicaView {
  const view = new Map<string, SeenRow>();
  for (const table of TABLE_NAMES) {
    const rows = database.prepare(`SELECT key, owner, epoch, seq, deleted, row FROM ${table}`).all();
    for (const { key, owner, epoch, seq, deleted, row } of rows) {
      const seen: SeenRow = {
        table,
        key: String(key),
        owner: String(owner),
        version: { epoch: Number(epoch), seq: Number(seq) },
        row: Number(deleted) === 1 ? null : String(row),
      };
      view.set(nameOf(seen), seen);
    }
  }
  return view;
}

export function quarantined(database: SqlDatabase): number {
  return Number(database.prepare("SELECT count(*) AS n FROM quarantine").all()[0]?.n);
}
