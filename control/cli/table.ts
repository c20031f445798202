/** Columns for people: as wide as their widest cell, two blanks apart; empty lists say so. */
export function table(rows: readonly Record<string, string | number | null>[], ifEmpty: string): string {
  const [first] = rows;
  if (first === undefined) return ifEmpty;
  const columns = Object.keys(first);
  const cells = [
    columns.map((name) => name.toUpperCase().replaceAll("_", " ")),
    ...rows.map((row) => columns.map((name) => String(row[name] ?? "-"))),
  ];
  const widths = columns.map((_, at) => Math.max(...cells.map((line) => line[at]!.length)));
  return cells.map((line) => line.map((cell, at) => cell.padEnd(widths[at]!)).join("  ").trimEnd()).join(
    "\n",
  );
}
