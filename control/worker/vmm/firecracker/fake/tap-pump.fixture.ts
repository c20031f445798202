/** Carries frames between the host's tap, which the VM would hold, and one inside the container's network namespace. */
import { read, write } from "node:fs";
import { inNetns, openTap } from "./system.fixture.ts";

const FRAME_BYTES_MAX = 65_550;
const DEVICE = "/dev/net/tun";

/** Makes the inner tap where it is not there yet; it stays. Call `pump` once it has its address. */
export function openTaps(hostTap: string, netns: string, inner: string): { outside: number; inside: number } {
  const outside = openTap(DEVICE, hostTap);
  const inside = inNetns(netns, () => openTap(DEVICE, inner, { persist: true }));
  return { outside, inside };
}

/** Until the process ends. */
export function pump(from: number, to: number): void {
  const frame = Buffer.allocUnsafe(FRAME_BYTES_MAX);
  const next = () =>
    read(from, frame, 0, frame.length, null, (error, bytes) => {
      // Down, or gone: a cable that nobody holds.
      if (error !== null) return void setTimeout(next, 10);
      write(to, frame, 0, bytes, null, () => next());
    });
  next();
}
