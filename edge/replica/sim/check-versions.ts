/**
 * Versions never go back: a key that an edge has shown live at one version it never shows live at a lower one, within a
 * file's life, through crashes and across take-overs. A row that is away altogether, or only known to be deleted, is
 * `check-withdrawal.ts`', and one that was deleted `check-resurrection.ts`'. A tombstone may give way to a lower one: an
 * owner that was restored knows nothing of the later deletion, and its epoch keeps the row away.
 */
import { isNewer } from "../../../control/contract/events.ts";
import type { ReplicaView } from "./replica-view.ts";
import type { ShownRows } from "./shown-rows.ts";

export function checkVersions(view: ReplicaView, shown: ShownRows): string | null {
  for (const [name, { version, row }] of view) {
    const known = shown.get(name);
    if (row === null || known?.isLive !== true || !isNewer(known.version, version)) continue;
    return `${name} was ${text(known.version)} and is ${text(version)}`;
  }
  return null;
}

export function text({ epoch, seq }: { epoch: number; seq: number }): string {
  return `${epoch}.${seq}`;
}
