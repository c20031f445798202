/** Has a worker pull an image, and tells people meanwhile how far it is: a large one takes minutes. */
import type { ImageAnswer } from "../contract/worker-api.ts";
import type { WorkerClient } from "../place/worker-client.ts";
import type { Deployment } from "./deployment.ts";

const ASK_INTERVAL_MS = 2_000;

export async function pullImage(
  deployment: Pick<Deployment, "say" | "signal">,
  client: Pick<WorkerClient, "image" | "imageProgress">,
  ref: string,
  intervalMs = ASK_INTERVAL_MS,
): Promise<ImageAnswer> {
  const over = new AbortController();
  const telling = tell(deployment, client, ref, over.signal, intervalMs);
  try {
    return await client.image(ref, { signal: deployment.signal });
  } finally {
    over.abort();
    await telling;
  }
}

/** Until aborted. What cannot be asked is not told: the pull itself says what is wrong. */
async function tell(
  deployment: Pick<Deployment, "say">,
  client: Pick<WorkerClient, "imageProgress">,
  ref: string,
  signal: AbortSignal,
  intervalMs: number,
): Promise<void> {
  let told: string | null = null;
  while (!signal.aborted) {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, intervalMs);
      signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
    });
    if (signal.aborted) return;
    const message = await client.imageProgress(ref, { signal }).catch(() => null);
    if (message !== null && message !== told && !signal.aborted) await deployment.say(`Image: ${message}`);
    told = message ?? told;
  }
}
