/** The rows of a subscription, each with a number by which changes name it, and what differs after another look. Pure. */

export interface HeldRow {
  readonly id: number;
  /** A JSON array. */
  readonly values: string;
}

export interface Change {
  readonly kind: "insert" | "update" | "delete";
  readonly id: number;
  /** Of a deleted row: the last ones. */
  readonly values: string;
}

/** By what makes a row the same row: its key columns, or without such all of it; the second of equal ones is another row. */
export type RowSet = ReadonlyMap<string, HeldRow>;

/** @param keyColumns indexes; empty: a row that changes is another row */
export function compareRows(
  before: RowSet,
  lines: readonly string[],
  keyColumns: readonly number[],
  nextId: number,
): { after: RowSet; changes: Change[]; nextId: number } {
  const after = new Map<string, HeldRow>();
  const changes: Change[] = [];
  const times = new Map<string, number>();
  for (const values of lines) {
    const name = identity(values, keyColumns);
    const time = times.get(name) ?? 0;
    times.set(name, time + 1);
    const key = time === 0 ? name : `${name}#${time}`;
    const known = before.get(key);
    if (known === undefined) changes.push({ kind: "insert", id: nextId, values });
    else if (known.values !== values) changes.push({ kind: "update", id: known.id, values });
    after.set(key, { id: known?.id ?? nextId, values });
    if (known === undefined) nextId++;
  }
  const gone: Change[] = [];
  for (const [key, { id, values }] of before) {
    if (!after.has(key)) gone.push({ kind: "delete", id, values });
  }
  return { after, changes: [...gone, ...changes], nextId };
}

function identity(values: string, keyColumns: readonly number[]): string {
  if (keyColumns.length === 0) return values;
  const row = JSON.parse(values) as unknown[];
  return JSON.stringify(keyColumns.map((at) => row[at]));
}
