import { expect, test } from "bun:test";
import { cpuTimeMs, processStats } from "./process-stats.ts";

test("cpuTimeMs() reads a process's time, and 0 where there is none", () => {
  expect(cpuTimeMs(process.pid)).toBeGreaterThan(0);
  expect(cpuTimeMs(2 ** 30)).toBe(0);
});

test("processStats() reads time and memory of a process", () => {
  const stats = processStats(process.pid);
  expect(stats.cpuMs).toBeGreaterThan(0);
  expect(stats.residentBytes).toBeGreaterThan(1_048_576);
  expect(processStats(2 ** 30)).toEqual({ cpuMs: 0, residentBytes: 0 });
});
