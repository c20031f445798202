/**
 * No acknowledged row is lost: what an owner has committed is, after quiet, in every replica that follows it, at the very
 * version that it was committed as.
 */
import { text } from "./check-versions.ts";
import { nameOf } from "./owner-state.ts";
import type { ReplicaView } from "./replica-view.ts";
import type { Truth } from "./truth.ts";

export function checkAcknowledged(
  regions: readonly string[],
  view: ReplicaView,
  truth: Truth,
): string | null {
  for (const row of truth.live(regions)) {
    const found = view.get(nameOf(row));
    if (found === undefined) return `${nameOf(row)} ${text(row.version)} was committed and is not there`;
    if (text(found.version) !== text(row.version)) {
      return `${nameOf(row)} was committed as ${text(row.version)} and is there as ${text(found.version)}`;
    }
  }
  return null;
}
