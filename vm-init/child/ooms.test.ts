import { expect, test } from "bun:test";
import { oomCountsOf, oomSince } from "./ooms.ts";

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
