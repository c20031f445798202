import { expect, test } from "bun:test";
import { appMemoryBytes, appPidsMax, oomCountsOf, oomSince } from "./cgroup.ts";

test("oomCountsOf() reads both cgroup versions", () => {
  const v2 = "low 0\nhigh 0\nmax 12\noom 2\noom_kill 1\noom_group_kill 0\n";
  expect(oomCountsOf(v2)).toEqual({ kills: 1, limitMet: 2 });
  expect(oomCountsOf("oom_kill_disable 0\nunder_oom 0\noom_kill 4\n")).toEqual({ kills: 4, limitMet: null });
  expect(oomCountsOf("oom_kill_disable 0\nunder_oom 0\n")).toBeNull();
});

test("oomSince() blames the app's limit, the machine, or nobody where the cgroup does not tell", () => {
  const before = { kills: 1, limitMet: 1 };
  expect(oomSince(before, { kills: 2, limitMet: 2 })).toEqual({ kills: 1, scope: "app" });
  expect(oomSince(before, { kills: 2, limitMet: 1 })).toEqual({ kills: 1, scope: "machine" });
  expect(oomSince(before, { kills: 1, limitMet: 1 })).toEqual({ kills: 0, scope: null });
  const v1 = { kills: 3, limitMet: null };
  expect(oomSince({ kills: 0, limitMet: null }, v1)).toEqual({ kills: 3, scope: null });
});

test("appPidsMax() keeps some processes back, and leaves the app a few in any case", () => {
  expect(appPidsMax(1_500, 32_768)).toBe(1_372);
  expect(appPidsMax(20_000, 4_096)).toBe(3_968);
  expect(appPidsMax(100, 32_768)).toBe(64);
});

test("appMemoryBytes() keeps vm-init's code and 16 MB back, but leaves the app 64 MB where there are as many", () => {
  expect(appMemoryBytes(206_384, 30_000)).toBe(160_000 * 1_024);
  expect(appMemoryBytes(70_000, 30_000)).toBe(65_536 * 1_024);
  expect(appMemoryBytes(50_000, 30_000)).toBe(50_000 * 1_024);
});
