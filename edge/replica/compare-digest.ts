/** Whether a replica holds what an owner says it has published. Pure. */
import type { StateDigest } from "../../control/contract/events.ts";
import { EMPTY_SUM } from "../../control/contract/row-sum.ts";
import { TABLE_NAMES, type TableName, TABLES } from "../../control/contract/rows.ts";
import type { TableSum } from "./owner-sums.ts";

export interface TableDifference {
  readonly owner: string;
  readonly table: TableName;
  /** What the owner says. */
  readonly expected: TableSum;
  readonly found: TableSum;
}

const NOTHING: TableSum = { rows: 0, sum: EMPTY_SUM };

/** A table that the digest leaves out has no rows; one that this version does not know is not looked at. */
export function compareDigest(
  { owner, tables }: Pick<StateDigest, "owner" | "tables">,
  held: ReadonlyMap<TableName, TableSum>,
): TableDifference[] {
  const differences: TableDifference[] = [];
  for (const table of TABLE_NAMES) {
    const expected = Object.hasOwn(tables, table) ? tables[table]! : NOTHING;
    const found = held.get(table) ?? NOTHING;
    if (expected.rows !== found.rows || expected.sum !== found.sum) {
      differences.push({ owner, table, expected, found });
    }
  }
  return differences;
}

/** @param scope `global`, or a region's code */
export function mayDigest(owner: string, scope: string): boolean {
  return scope === "global" ? owner === "api" : owner.startsWith("worker:");
}

/** Tables that an owner of this kind writes. */
export function tablesOf(owner: string): TableName[] {
  const scope = owner === "api" ? "global" : "region";
  return TABLE_NAMES.filter((table) => TABLES[table].scope === scope);
}
