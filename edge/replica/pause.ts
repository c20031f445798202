/** Time to pass, or a signal to come. */

/** Resolves after `ms`, or at once when the signal is aborted; with 0, when whatever else is due has had its turn. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) return resolve();
    if (ms <= 0) return void setImmediate(resolve);
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal?.addEventListener("abort", end);
  });
}
