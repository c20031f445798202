import { expect, test } from "bun:test";
import { describeExit, exitOf } from "./exit.ts";

test.each([
  [
    { exitCode: 0, signal: null },
    0,
    { exit_code: 0, signal: null, oom_killed: false },
    "process ended with status 0",
  ],
  [
    { exitCode: 3, signal: null },
    0,
    { exit_code: 3, signal: null, oom_killed: false },
    "process ended with status 3",
  ],
  [
    { exitCode: null, signal: "SIGTERM" },
    0,
    { exit_code: 143, signal: "SIGTERM", oom_killed: false },
    "process was ended by SIGTERM",
  ],
  [
    { exitCode: null, signal: 35 },
    0,
    { exit_code: 163, signal: "SIG35", oom_killed: false },
    "process was ended by SIG35",
  ],
  [
    { exitCode: null, signal: "SIGKILL" },
    1,
    { exit_code: 137, signal: "SIGKILL", oom_killed: true },
    "process was killed for memory (status 137)",
  ],
  [
    { exitCode: 137, signal: null },
    2,
    { exit_code: 137, signal: null, oom_killed: true },
    "process was killed for memory (status 137)",
  ],
])("exitOf() turns %j with %i OOM kills into a status", (ended, oomKills, exit, words) => {
  expect(exitOf(ended, oomKills, 5)).toEqual({ ...exit, at_ms: 5 });
  expect(describeExit(exitOf(ended, oomKills, 5))).toBe(words);
});

test("exitOf() does not blame memory for an app that survived the kill of a child", () => {
  expect(exitOf({ exitCode: 1, signal: null }, 3, 0).oom_killed).toBe(false);
});
