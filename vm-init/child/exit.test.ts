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
  const oom = { kills: oomKills, scope: null };
  expect(exitOf(ended, oom, 5)).toEqual({ ...exit, oom_scope: null, at_ms: 5 });
  expect(describeExit(exitOf(ended, oom, 5))).toBe(words);
});

test("exitOf() does not blame memory for an app that survived the kill of a child", () => {
  const exit = exitOf({ exitCode: 1, signal: null }, { kills: 3, scope: "app" }, 0);
  expect(exit).toMatchObject({ oom_killed: false, oom_scope: null });
});

test("exitOf() tells an app that took its share from a machine that ran dry", () => {
  const exit = exitOf({ exitCode: null, signal: "SIGKILL" }, { kills: 1, scope: "machine" }, 0);
  expect(describeExit(exit)).toBe(
    "process was killed for memory (status 137); the machine's memory had run out, not the app's share",
  );
});
