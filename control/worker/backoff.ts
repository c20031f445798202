/** Waits between tries: doubling, capped, with full jitter so that many waiters do not come back in step. */
export interface Backoff {
  readonly firstMs: number;
  readonly capMs: number;
}

/** The wait before try number `tries` (the first retry is 1). `random` gives [0, 1). */
export function backoffMs(backoff: Backoff, tries: number, random: () => number): number {
  const ceiling = Math.min(backoff.capMs, backoff.firstMs * 2 ** Math.min(tries - 1, 30));
  return ceiling / 2 + (random() * ceiling) / 2;
}

/** Resolves after `ms`, or at once when `signal` is aborted. Never rejects. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener("abort", end);
  });
}

/** The promise's value, or `null` when `ms` passed or `signal` was aborted first. */
export async function within<T>(promise: Promise<T>, ms: number, signal?: AbortSignal): Promise<T | null> {
  const over = new AbortController();
  const ends = signal === undefined ? over.signal : AbortSignal.any([over.signal, signal]);
  try {
    return await Promise.race([promise, pause(ms, ends).then(() => null)]);
  } finally {
    over.abort();
  }
}
