/** Percentiles of many figures, and of matrices of them: a change has a time for each edge. */
import { assert } from "../../../control/contract/errors.ts";

/** @param share 0.99 for the 99th percentile; the figure that as large a share of all is at most */
export function percentile(sorted: Float64Array, share: number): number {
  assert(sorted.length > 0, "a percentile needs at least one figure");
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(sorted.length * share) - 1))]!;
}

export interface Delays {
  /** Over every change on every edge. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  /** Over the changes: until the last of the edges had it. */
  readonly lastEdgeP50Ms: number;
  readonly lastEdgeP99Ms: number;
}

/**
 * @param begunMs by change
 * @param routedMs for each edge, by change
 * @param from the first change that counts, and how many of them
 */
export function delaysOf(
  begunMs: Float64Array,
  routedMs: readonly Float64Array[],
  from: number,
  count: number,
): Delays {
  const all = new Float64Array(count * routedMs.length);
  const last = new Float64Array(count);
  for (let change = 0; change < count; change++) {
    routedMs.forEach((times, edge) => {
      const delay = times[from + change]! - begunMs[from + change]!;
      assert(!Number.isNaN(delay), `change ${from + change} was never routed on edge ${edge}`);
      all[change * routedMs.length + edge] = delay;
      last[change] = Math.max(last[change]!, delay);
    });
  }
  all.sort();
  last.sort();
  return {
    p50Ms: rounded(percentile(all, 0.5)),
    p99Ms: rounded(percentile(all, 0.99)),
    maxMs: rounded(percentile(all, 1)),
    lastEdgeP50Ms: rounded(percentile(last, 0.5)),
    lastEdgeP99Ms: rounded(percentile(last, 0.99)),
  };
}

function rounded(ms: number): number {
  return Math.round(ms * 100) / 100;
}
