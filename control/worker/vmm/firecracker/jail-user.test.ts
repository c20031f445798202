import { expect, test } from "bun:test";
import { jailUserOf } from "./jail-user.ts";

test("jailUserOf() gives each machine the same number always, and another machine another, none that people have", () => {
  const ids = Array.from({ length: 1_000 }, (_, at) => at.toString(16).padStart(14, "0"));
  const users = ids.map(jailUserOf);
  expect(ids.map(jailUserOf)).toEqual(users);
  expect(new Set(users).size).toBe(1_000);
  expect(Math.min(...users)).toBeGreaterThanOrEqual(0x6000_0000);
  expect(Math.max(...users)).toBeLessThan(0x7000_0000);
});
