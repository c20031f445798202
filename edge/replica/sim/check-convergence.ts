/**
 * After quiet every replica's live rows are its owners', in its file and in what it told the relay. This compares with the
 * owners' databases, row by row, and not with what the replica says of itself.
 */
import type { EdgeModel } from "./edge-model.ts";
import { nameOf } from "./owner-state.ts";
import type { ReplicaView } from "./replica-view.ts";
import type { Truth } from "./truth.ts";

export function checkConvergence(edge: EdgeModel, view: ReplicaView, truth: Truth): string | null {
  const wanted = new Map(truth.live(edge.regions).map((row) => [nameOf(row), JSON.stringify(row.row)]));
  const live = [...view].filter(([, { row }]) => row !== null);
  const file = new Map(live.map(([name, { row }]) => [name, row!]));
  return differ("its file", file, wanted) ?? differ("the relay", edge.routed, wanted);
}

function differ(
  where: string,
  found: ReadonlyMap<string, string>,
  wanted: ReadonlyMap<string, string>,
): string | null {
  for (const [name, row] of wanted) {
    const has = found.get(name);
    if (has === undefined) return `${where} lacks ${name}`;
    if (!isSame(has, row)) return `${where} has another ${name}: ${has} instead of ${row}`;
  }
  for (const name of found.keys()) if (!wanted.has(name)) return `${where} has ${name}, which is no row`;
  return null;
}

/** Columns in any order. */
function isSame(a: string, b: string): boolean {
  return a === b || canonical(a) === canonical(b);
}
function canonical(json: string): string {
  const row = JSON.parse(json) as Record<string, unknown>;
  return JSON.stringify(Object.entries(row).sort(([a], [b]) => a < b ? -1 : 1));
}
