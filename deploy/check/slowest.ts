/** Where the check's time went. Pure. */
import { formatDuration } from "../stack/steps.ts";

export const SLOWEST_MAX = 10;

/** A line for each of the longest, the longest first; `tookMs` is by name. */
export function slowest(tookMs: ReadonlyMap<string, number>, max = SLOWEST_MAX): string[] {
  return [...tookMs].sort(([, a], [, b]) => b - a).slice(0, max)
    .map(([name, ms]) => `${formatDuration(ms).padStart(8)}  ${name}`);
}
