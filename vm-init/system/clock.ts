/** Seconds since the kernel started; in a container, since the host's. */
import { readFileSync } from "node:fs";

export function uptimeS(): number {
  return Number.parseFloat(readFileSync("/proc/uptime", "utf8"));
}
