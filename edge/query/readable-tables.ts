/** What statements may read: each table of the contract as a view with its columns, and the table itself as it is stored. */
import type { ZodType } from "zod";
import { TABLE_NAMES, type TableName, TABLES } from "../../control/contract/rows.ts";

/** Beside the tables of the contract: functions that stand where a table may, and earlier versions of rows. */
const OTHERS = ["history", "json_each", "json_tree"];
const READABLE: ReadonlySet<string> = new Set([...TABLE_NAMES, ...OTHERS]);

export function mayRead(table: string): boolean {
  return READABLE.has(table.toLowerCase());
}

/** Of a view; `published_by` and those after it say where the row comes from. */
export function columnsOf(table: TableName): string[] {
  return ["key", ...rowColumns(TABLES[table].row), "published_by", "epoch", "seq", "published_ms"];
}

/** Views named as the tables are, in the connection's own temporary schema, which comes first; tombstones are left out. */
export function viewStatements(): string[] {
  return TABLE_NAMES.map((table) => {
    const columns = rowColumns(TABLES[table].row).map((name) => `row ->> '$.${name}' AS ${name}`);
    return `CREATE TEMP VIEW ${table} AS SELECT key, ${columns.join(", ")},
      owner AS published_by, epoch, seq, published_ms FROM main.${table} WHERE deleted = 0`;
  });
}

/** Those of each form, where a row may have several. */
function rowColumns(row: ZodType): string[] {
  const { shape, options } = row as { shape?: object; options?: readonly ZodType[] };
  if (shape !== undefined) return Object.keys(shape);
  return [...new Set((options ?? []).flatMap(rowColumns))];
}
