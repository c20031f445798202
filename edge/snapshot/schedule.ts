/**
 * When an edge builds its next snapshot. Once an interval suffices, since a replica that begins with it takes in some 100,000
 * changes a second; sooner where much has changed. Each time is drawn anew, so that edges that started together, or saw the
 * same storm, do not build together, and those that fail together do not try again together.
 */

/** @default for `snapshot_interval_s` */
export const INTERVAL_MS_DEFAULT = 3_600_000;
/** Where much has changed, after this part of the interval. */
export const EARLY_DIVISOR = 6;
/** Much: this part of the rows that the last one has. */
export const CHANGED_DIVISOR = 16;
/** After a start, so that an edge that crashes in a loop builds nothing. */
export const FIRST_MS_MIN = 10_000;
export const FIRST_MS_MAX = 60_000;
export const RETRY_MS_MIN = 30_000;
/** An interval is shorter, an early one longer, by at most this part. */
const JITTER = 0.2;

export interface ScheduleState {
  readonly intervalMs: number;
  readonly startedMs: number;
  /** When the last was built, or found to be still the same; null where there is none. */
  readonly builtMs: number | null;
  /** Rows of the last, and how many changed since. */
  readonly rows: number;
  readonly rowsChanged: number;
  /** In a row. */
  readonly failures: number;
  readonly triedMs: number;
  /** In [0, 1), drawn after each try. */
  readonly drawn: number;
}

/** The time at which the next is due, by the clock that the state was written with. */
export function nextBuildMs(state: ScheduleState): number {
  const { intervalMs, startedMs, builtMs, failures, triedMs, drawn } = state;
  if (failures > 0) {
    const ceiling = Math.min(intervalMs, RETRY_MS_MIN * 2 ** Math.min(failures, 10));
    return triedMs + ceiling / 2 + drawn * ceiling / 2;
  }
  const firstMs = startedMs + Math.min(
    FIRST_MS_MIN + drawn * (FIRST_MS_MAX - FIRST_MS_MIN),
    intervalMs,
  );
  if (builtMs === null) return firstMs;
  const much = state.rowsChanged > 0 && state.rowsChanged * CHANGED_DIVISOR >= state.rows;
  const afterMs = much
    ? intervalMs / EARLY_DIVISOR * (1 + JITTER * drawn)
    : intervalMs * (1 - JITTER * drawn);
  return Math.max(firstMs, builtMs + afterMs);
}
