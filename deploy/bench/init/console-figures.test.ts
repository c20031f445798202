import { expect, test } from "bun:test";
import { consoleFigures } from "./console-figures.ts";

test("consoleFigures() reads marked lines among others, and no line that is not whole", () => {
  const text =
    "kernel says x=1\r\ngodwit-bench: spawned_s=2.87 available_kb=180000\r\n[ 3.1] godwit-bench: bun_exec_s=3\n" +
    "godwit-bench: bun_started_s=3.4";
  expect([...consoleFigures(text)]).toEqual([["spawned_s", 2.87], ["available_kb", 180_000], [
    "bun_exec_s",
    3,
  ]]);
});
