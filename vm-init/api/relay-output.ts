/** What a command writes, as frames, no faster than the worker takes them. */
import type { Descriptor } from "../system/descriptor.ts";
import type { Channel, Output } from "./channel.ts";

/** A command that ended may have left its outputs to a child in the background, which need not be waited for. */
const IDLE_TICK_MS = 50;
const IDLE_TICKS_MAX = 3;
export interface Relay {
  readonly channel: Channel;
  readonly from: Descriptor;
  readonly kind: Output;
  /** The command's end. */
  readonly ended: Promise<void>;
  readonly bytesMax: number | null;
}

/** Resolves at the end of the output, with how many bytes above the bound were read and lost. */
export async function relayOutput({ channel, from, kind, ended, bytesMax }: Relay): Promise<number> {
  const reader = Bun.file(from.fd).stream().getReader();
  let timer: Timer | null = null;
  let finished = false;
  let isReading = false;
  let idleTicks = 0;
  // Only the wait for more counts: while the worker takes its time, nothing is given up.
  const tick = () => {
    if (isReading && ++idleTicks > IDLE_TICKS_MAX) void reader.cancel().catch(() => {});
  };
  void ended.then(() => {
    if (!finished) timer = setInterval(tick, IDLE_TICK_MS);
  });
  let left = bytesMax ?? Infinity;
  let lost = 0;
  try {
    for (;;) {
      [isReading, idleTicks] = [true, 0];
      const { value, done } = await reader.read();
      isReading = false;
      if (done) return lost;
      const kept = value.subarray(0, Math.min(value.length, left));
      left -= kept.length;
      lost += value.length - kept.length;
      if (!await channel.output(kind, kept)) return lost;
    }
  } catch {
    // A terminal whose last program has ended answers EIO: that is its end.
    return lost;
  } finally {
    finished = true;
    if (timer !== null) clearInterval(timer);
    void reader.cancel().catch(() => {});
  }
}
