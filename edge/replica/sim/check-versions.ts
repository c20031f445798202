/**
 * Versions never go back: a key that an edge has shown at one version it never shows at a lower one, within a file's life,
 * through crashes and across take-overs. A row that is away altogether is `check-withdrawal.ts`'.
 */
import { isNewer } from "../../../control/contract/events.ts";
import type { ReplicaView } from "./replica-view.ts";
import type { ShownRows } from "./shown-rows.ts";

export function checkVersions(view: ReplicaView, shown: ShownRows): string | null {
  for (const [name, { version, row }] of view) {
    const known = shown.get(name);
    // A tombstone below every version says only that the row is not there.
    if (known === undefined || (row === null && version.epoch < 0)) continue;
    // What was deleted is `check-resurrection.ts`'.
    if (!known.isLive && row !== null) continue;
    if (isNewer(known.version, version)) {
      return `${name} was ${text(known.version)} and is ${text(version)}`;
    }
  }
  return null;
}

export function text({ epoch, seq }: { epoch: number; seq: number }): string {
  return `${epoch}.${seq}`;
}
