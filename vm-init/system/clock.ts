/** Clocks: seconds since the kernel started (in a container, since the host's), and the time of day. */
import { readFileSync } from "node:fs";
import { check, libc } from "./libc.ts";

const CLOCK_REALTIME = 0;

export function uptimeS(): number {
  return Number.parseFloat(readFileSync("/proc/uptime", "utf8"));
}

/** Steps the time of day to `ms` since 1970. */
export function setClock(ms: number): void {
  const seconds = Math.floor(ms / 1_000);
  const time = BigInt64Array.of(BigInt(seconds), BigInt(Math.round((ms - seconds * 1_000) * 1_000_000)));
  check(libc.clock_settime(CLOCK_REALTIME, time), `clock_settime CLOCK_REALTIME ${ms} ms`);
}
