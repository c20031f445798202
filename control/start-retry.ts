/** At start the servers that control needs may be starting too: it waits for them, but not for long. */
import { GodwitError } from "./contract/errors.ts";
import { backoffMs } from "./publish/backoff.ts";

export const START_WAIT_MS_MAX = 10_000;

/** Repeats `work` while it fails with an error that is worth a retry; the last error is the answer. */
export async function retryAtStart<T>(work: () => Promise<T>, waitMsMax = START_WAIT_MS_MAX): Promise<T> {
  const untilMs = performance.now() + waitMsMax;
  for (let failures = 1;; failures++) {
    try {
      return await work();
    } catch (error) {
      const waitMs = backoffMs(failures, Math.random());
      if (!(error instanceof GodwitError) || !error.retryable) throw error;
      if (performance.now() + waitMs > untilMs) throw error;
      await Bun.sleep(waitMs);
    }
  }
}
