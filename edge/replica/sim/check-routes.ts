/** No route leads to a machine that is gone: this long after quiet began the relay knows only machines that there are. */
import type { EdgeModel } from "./edge-model.ts";
import { nameOf } from "./owner-state.ts";
import type { Truth } from "./truth.ts";

/** An owner's next digest, its full publication, and the next look for a gap. */
export const GONE_MS_MAX = 40_000;

export function checkRoutes(edge: EdgeModel, truth: Truth): string | null {
  const live = new Set(truth.live(edge.regions).map(nameOf));
  for (const name of edge.routed.keys()) {
    if (name.startsWith("machines ") && !live.has(name)) {
      return `${edge.name} routes to ${name}, which is gone`;
    }
  }
  return null;
}
