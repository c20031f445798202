/** Two sockets as one stream. What one side said before it hung up still reaches the other, as a device's queue would. */
import type { Socket } from "node:net";

const SETTLE_MS_MAX = 1_000;
const open = new Set<Promise<void>>();

export function bridgeStreams(a: Socket, b: Socket): void {
  const ends = [a, b].map((socket) => new Promise<void>((resolve) => socket.once("close", () => resolve())));
  for (const [from, to] of [[a, b], [b, a]] as const) {
    from.on("error", () => {});
    from.pipe(to);
    from.on("close", () => to.end(() => to.destroy()));
  }
  const both = Promise.all(ends).then(() => void open.delete(both));
  open.add(both);
}

/** Once all that hung up were heard to the end, or after SETTLE_MS_MAX. */
export async function settled(): Promise<void> {
  await Promise.race([Promise.all(open), Bun.sleep(SETTLE_MS_MAX)]);
}
