/**
 * No row comes back from the dead: once an edge has shown that a key is deleted, it never shows it live at that version or
 * a lower one, whatever became of the tombstone. What an edge has shown is forgotten with its disk, by a power cut or
 * damage; whatever comes back then is `check-convergence.ts`'.
 */
import { isNewer } from "../../../control/contract/events.ts";
import { text } from "./check-versions.ts";
import type { ReplicaView } from "./replica-view.ts";
import type { ShownRows } from "./shown-rows.ts";

export function checkResurrection(view: ReplicaView, shown: ShownRows): string | null {
  for (const [name, { version, row }] of view) {
    const known = shown.get(name);
    if (known === undefined || known.isLive || row === null || isNewer(version, known.version)) continue;
    return `${name} was deleted at ${text(known.version)} and is live at ${text(version)}`;
  }
  return null;
}
