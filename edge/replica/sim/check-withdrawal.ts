/**
 * No row is withdrawn that its owner has not deleted: a row that an edge has shown live goes away only where its owner
 * has deleted it at that version or a later one. A stream that was emptied, a new generation that knows less, a digest
 * that came too early: none of them takes a route away.
 */
import { isNewer } from "../../../control/contract/events.ts";
import { text } from "./check-versions.ts";
import { nameOf } from "./owner-state.ts";
import type { ReplicaView } from "./replica-view.ts";
import type { Shown, ShownRows } from "./shown-rows.ts";
import type { Truth } from "./truth.ts";

/** Of rows that are in no file any more. */
export function checkWithdrawal(view: ReplicaView, shown: ShownRows, truth: Truth): string | null {
  for (const [name, known] of shown.entries()) {
    if (!known.isLive) continue;
    const row = view.get(name);
    if (row === undefined || row.row === null) {
      const wrong = whyWrong(known, truth);
      if (wrong !== null) return wrong;
    }
  }
  return null;
}

/** Of a row that the edge says is gone. */
export function checkGone(table: string, key: string, shown: ShownRows, truth: Truth): string | null {
  const known = shown.get(nameOf({ table, key }));
  return known === undefined || !known.isLive ? null : whyWrong(known, truth);
}

function whyWrong({ table, key, version }: Shown, truth: Truth): string | null {
  const deletion = truth.ownerOf(table, key)?.lastDeletion(table, key) ?? null;
  if (deletion !== null && !isNewer(version, deletion)) return null;
  return `${table} ${key} ${text(version)} was withdrawn, and its owner ${
    deletion === null ? "never deleted it" : `deleted it last at ${text(deletion)}`
  }`;
}
