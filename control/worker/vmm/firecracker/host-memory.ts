/**
 * Whether the host has room for a guest's memory as a file in a tmpfs. Firecracker writes all of it, touched or not, and
 * what does not fit there is not refused but taken from others, by the kernel's OOM killer.
 */
import { readFileSync } from "node:fs";

const MIB = 1_048_576;
/** Left for the host itself. */
const RESERVE_MIB = 256;

/** In words why not, or null. Pure. */
export function memoryObstacle(wantedBytes: number, meminfo: string): string | null {
  const availableKb = Number(/^MemAvailable:\s+(\d+) kB$/m.exec(meminfo)?.[1] ?? 0);
  const wantedMib = Math.ceil(wantedBytes / MIB) + RESERVE_MIB;
  const availableMib = Math.floor(availableKb / 1_024);
  return availableMib >= wantedMib
    ? null
    : `the host has ${availableMib} MB of memory available, and it takes ${wantedMib} MB`;
}

/** @throws Error in words */
export function requireHostMemory(wantedBytes: number): void {
  const obstacle = memoryObstacle(wantedBytes, readFileSync("/proc/meminfo", "utf8"));
  if (obstacle !== null) throw new Error(obstacle);
}
