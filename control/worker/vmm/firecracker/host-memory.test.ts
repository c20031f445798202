import { expect, test } from "bun:test";
import { memoryObstacle, requireHostMemory } from "./host-memory.ts";

const MIB = 1_048_576;
const meminfo = "MemTotal:        8000000 kB\nMemFree:           10000 kB\nMemAvailable:    1048576 kB\n";

test("memoryObstacle() leaves a reserve to the host", () => {
  expect(memoryObstacle(768 * MIB, meminfo)).toBeNull();
  expect(memoryObstacle(769 * MIB, meminfo)).toBe(
    "the host has 1024 MB of memory available, and it takes 1025 MB",
  );
  expect(memoryObstacle(1, "")).toContain("has 0 MB");
});

test("requireHostMemory() reads what this host has", () => {
  requireHostMemory(0);
  expect(() => requireHostMemory(2 ** 50)).toThrow("MB of memory available");
});
