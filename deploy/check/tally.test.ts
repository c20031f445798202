import { describe, expect, test } from "bun:test";
import { add, FAIL, NOTHING, PASS, summary, tallyOf } from "./tally.ts";

describe("tallyOf()", () => {
  test("reads the summary of a run, in colours too", () => {
    expect(tallyOf("(pass) a\n\n 3 pass\n 1 skip\n\x1b[0m 2 fail\x1b[0m\n 9 expect() calls\n", 1))
      .toEqual({ passed: 3, failed: 2, skipped: 1 });
  });
  test("counts a crash or a time limit as a failure", () => {
    expect(tallyOf("(pass) a\n", 137)).toEqual({ passed: 0, failed: 1, skipped: 0 });
    expect(tallyOf(" 4 pass\n 0 fail\n", null)).toEqual({ passed: 4, failed: 1, skipped: 0 });
  });
  test("counts a test that says why it did not run as skipped", () => {
    expect(tallyOf("skipped: needs root\n(pass) a\n 2 pass\n 0 fail\n", 0))
      .toEqual({ passed: 1, failed: 0, skipped: 1 });
  });
});

test("summary() is the line that scripts read", () => {
  expect(summary(add(add(PASS, PASS), FAIL))).toBe("2 passed, 1 failed");
  expect(summary(add(NOTHING, { passed: 0, failed: 0, skipped: 2 }))).toBe("0 passed, 0 failed, 2 skipped");
});
