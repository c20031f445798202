import { expect, test } from "bun:test";
import { appMemoryBytes, oomKillsOf } from "./cgroup.ts";

test("oomKillsOf() reads both cgroup versions", () => {
  expect(oomKillsOf("low 0\nhigh 0\nmax 12\noom 2\noom_kill 1\noom_group_kill 0\n")).toBe(1);
  expect(oomKillsOf("oom_kill_disable 0\nunder_oom 0\noom_kill 4\n")).toBe(4);
  expect(oomKillsOf("oom_kill_disable 0\nunder_oom 0\n")).toBeNull();
});

test("appMemoryBytes() keeps vm-init's code and 16 MB back, but leaves the app 64 MB where there are as many", () => {
  expect(appMemoryBytes(206_384, 30_000)).toBe(160_000 * 1_024);
  expect(appMemoryBytes(70_000, 30_000)).toBe(65_536 * 1_024);
  expect(appMemoryBytes(50_000, 30_000)).toBe(50_000 * 1_024);
});
