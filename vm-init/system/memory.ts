/** Figures of /proc that are reported: this process's memory and the machine's. */
import { readFileSync } from "node:fs";

/** The number of kB that a line `Name:   123 kB` holds, or null. */
export function kilobytesOf(text: string, name: string): number | null {
  const match = new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(text);
  return match === null ? null : Number(match[1]);
}

export interface InitMemory {
  readonly rssKb: number;
  readonly rssAnonKb: number;
}

export function initMemory(): InitMemory {
  const status = readFileSync("/proc/self/status", "utf8");
  return { rssKb: kilobytesOf(status, "VmRSS") ?? 0, rssAnonKb: kilobytesOf(status, "RssAnon") ?? 0 };
}

export function memoryAvailableKb(): number | null {
  return kilobytesOf(readFileSync("/proc/meminfo", "utf8"), "MemAvailable");
}
