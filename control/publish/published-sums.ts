/** How many live rows an owner has published in each table, and the sum over them, as changes go by. Pure. */
import { isNewer, type Version } from "../contract/events.ts";
import { EMPTY_SUM, rowSum, RunningSum } from "../contract/row-sum.ts";

export type TableSums = Record<string, { rows: number; sum: string }>;

/** What is known of a key. */
export interface KeyState {
  readonly table: string;
  readonly key: string;
  readonly version: Version;
  readonly deleted: boolean;
}

/**
 * @param known the present state of the keys that `changes` name; a missing one was never published
 * @returns the new sums, and of each key the change that is to be kept, where one is newer than what is known
 */
export function applyChanges<T extends KeyState>(
  sums: TableSums,
  known: readonly KeyState[],
  changes: readonly T[],
): { sums: TableSums; kept: T[] } {
  const states = new Map<string, KeyState>(known.map((state) => [nameOf(state), state]));
  const kept = new Map<string, T>();
  const counts = new SumsUnderWay(sums);
  for (const change of changes) {
    const before = states.get(nameOf(change));
    if (before !== undefined && !isNewer(change.version, before.version)) continue;
    if (before?.deleted === false) counts.change(before, -1);
    if (!change.deleted) counts.change(change, 1);
    states.set(nameOf(change), change);
    kept.set(nameOf(change), change);
  }
  return { sums: counts.result(), kept: [...kept.values()] };
}

class SumsUnderWay {
  readonly #tables = new Map<string, { rows: number; sum: RunningSum }>();

  constructor(sums: TableSums) {
    for (const [table, { rows, sum }] of Object.entries(sums)) {
      this.#tables.set(table, { rows, sum: new RunningSum(sum) });
    }
  }

  change({ table, key, version }: KeyState, by: 1 | -1): void {
    const counts = this.#tables.get(table) ?? { rows: 0, sum: new RunningSum(EMPTY_SUM) };
    counts.rows += by;
    counts.sum.toggle(rowSum(table, key, version));
    this.#tables.set(table, counts);
  }

  result(): TableSums {
    return Object.fromEntries(
      Array.from(this.#tables, ([table, { rows, sum }]) => [table, { rows, sum: sum.toString() }]),
    );
  }
}

function nameOf({ table, key }: KeyState): string {
  return `${table} ${key}`;
}

/** With a line for each of the tables, so that a replica with rows of an empty one learns that there are none. */
export function withEmptyTables(sums: TableSums, tables: readonly string[]): TableSums {
  const empty = Object.fromEntries(tables.map((table) => [table, { rows: 0, sum: EMPTY_SUM }]));
  return { ...empty, ...sums };
}
