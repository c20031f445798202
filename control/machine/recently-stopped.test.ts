import { expect, test } from "bun:test";
import type { MachineExit, MachineState } from "../contract/machine.ts";
import { RECENTLY_STOPPED_MS } from "../contract/worker-edge-api.ts";
import { recentlyStopped } from "./recently-stopped.ts";

const NOW_MS = 10_000_000;
const at = (agoMs: number, state: MachineState = "stopped", change: Partial<MachineExit> = {}) =>
  recentlyStopped({
    state,
    updated_at_ms: NOW_MS - agoMs,
    last_exit: {
      exit_code: 0,
      signal: null,
      oom_killed: false,
      requested: true,
      reason: null,
      at_ms: NOW_MS - agoMs,
      ...change,
    },
  }, NOW_MS);

test("recentlyStopped() holds for five minutes after a stop that somebody asked for", () => {
  expect(at(0)).toBe(true);
  expect(at(RECENTLY_STOPPED_MS - 1)).toBe(true);
  expect(at(RECENTLY_STOPPED_MS)).toBe(false);
  expect(at(0, "suspended")).toBe(true);
  expect(at(RECENTLY_STOPPED_MS, "suspended")).toBe(false);
  expect(at(0, "stopping")).toBe(true);
});

test("recentlyStopped() does not hold for a machine that ended by itself, failed, runs, or never ran", () => {
  expect(at(0, "stopped", { requested: false })).toBe(false);
  for (const state of ["failed", "created", "starting", "started"] as const) expect(at(0, state)).toBe(false);
  expect(recentlyStopped({ state: "stopped", last_exit: null, updated_at_ms: NOW_MS }, NOW_MS)).toBe(false);
});

test("recentlyStopped() takes a guest's clock that is far ahead for no answer", () => {
  expect(at(-RECENTLY_STOPPED_MS)).toBe(false);
});
