/** A row that somebody wrote by hand, checked against the contract before it may route anything. */
import { GodwitError } from "../../control/contract/errors.ts";
import { keyOf, type RowOf, type TableName, TABLES } from "../../control/contract/rows.ts";
import type { RowChange } from "../routes/route-table.ts";

/**
 * @param entry `{table, row}`, or `{table, key, deleted: true}`
 * @returns null for tables that routing does not read
 * @throws GodwitError `edge.row_invalid`
 */
export function checkedRow(entry: unknown): { table: TableName; change: RowChange | null; key: string } {
  const { table, row, key, deleted } = (typeof entry === "object" && entry !== null ? entry : {}) as Record<
    string,
    unknown
  >;
  if (typeof table !== "string" || !Object.hasOwn(TABLES, table)) {
    throw invalid(`${JSON.stringify(table)} is not a table`, `Tables are ${Object.keys(TABLES).join(", ")}.`);
  }
  const name = table as TableName;
  if (deleted === true) {
    if (typeof key !== "string") {
      throw invalid(`a deleted row of ${table} has no key`, 'Give it as "key".');
    }
    return { table: name, key, change: changeOf(name, key, null) };
  }
  const parsed = TABLES[name].row.safeParse(row);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw invalid(
      `${table}: ${issue?.path.join(".")}: ${issue?.message}`,
      "control/contract/rows.ts has its shape.",
    );
  }
  const rowKey = keyOf(name, parsed.data as RowOf<TableName>);
  return { table: name, key: rowKey, change: changeOf(name, rowKey, parsed.data) };
}

function changeOf(table: TableName, key: string, row: unknown): RowChange | null {
  return { table, key, row } as RowChange;
}

function invalid(what: string, hint: string): GodwitError {
  return new GodwitError("edge.row_invalid", `Cannot use a row: ${what}`, { fault: "client", hint });
}
