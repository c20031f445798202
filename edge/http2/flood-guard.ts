/**
 * Frames that cost this side work and their sender nothing: a token bucket for each kind. Honest clients stay far below; who
 * empties one is told ENHANCE_YOUR_CALM and cut off. Resets are counted whoever sends them: a stream that the peer cancels
 * (CVE-2023-44487), or that it makes us reset by a mistake in it (CVE-2025-8671), has cost a request either way.
 */

interface Allowance {
  /** At once. */
  readonly burst: number;
  readonly perSecond: number;
}

export const ALLOWANCES = {
  /** A page with a hundred streams that is left early cancels all of them. */
  reset: { burst: 256, perSecond: 32 },
  settings: { burst: 32, perSecond: 1 },
  ping: { burst: 128, perSecond: 8 },
  /** DATA without bytes and without an end. */
  empty_data: { burst: 128, perSecond: 8 },
  /** PRIORITY, and types that nobody knows: browsers send some with each stream. */
  ignored: { burst: 1_024, perSecond: 128 },
  /** More come as DATA goes out: `earn`. */
  window_update: { burst: 2_048, perSecond: 256 },
} as const satisfies Record<string, Allowance>;

export type FloodKind = keyof typeof ALLOWANCES;
/** Bounds of a connection, for the metrics: the allowances, and those of `connection.ts`. */
export const HTTP2_LIMITS: readonly string[] = [...Object.keys(ALLOWANCES), "continuation", "unread"];
const KINDS = Object.keys(ALLOWANCES) as FloodKind[];

export class FloodGuard {
  readonly #left = new Map<FloodKind, number>(KINDS.map((kind) => [kind, ALLOWANCES[kind].burst]));
  #filledMs: number;

  constructor(nowMs: number) {
    this.#filledMs = nowMs;
  }

  /** @returns false where it is one too many */
  take(kind: FloodKind, nowMs: number): boolean {
    let left = this.#left.get(kind)!;
    if (left < 1) {
      this.#fill(nowMs);
      left = this.#left.get(kind)!;
      if (left < 1) return false;
    }
    this.#left.set(kind, left - 1);
    return true;
  }

  /** What this side did earns the other side answers to it. */
  earn(kind: FloodKind, count: number): void {
    this.#left.set(kind, Math.min(ALLOWANCES[kind].burst, this.#left.get(kind)! + count));
  }

  #fill(nowMs: number): void {
    const seconds = (nowMs - this.#filledMs) / 1_000;
    this.#filledMs = nowMs;
    for (const kind of KINDS) this.earn(kind, ALLOWANCES[kind].perSecond * seconds);
  }
}
