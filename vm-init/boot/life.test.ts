import { expect, test } from "bun:test";
import { Life, skip } from "./life.ts";

const life = () => {
  let now = 0;
  return new Life(() => now += 5);
};
const EXIT = { exit_code: 0, signal: null, oom_killed: false, at_ms: 0 };

test("Life takes each step's time, and the reason of a skipped one", async () => {
  const one = life();
  expect(await one.step("mounts", () => 42)).toBe(42);
  expect(await one.step("volumes", () => skip("none"))).toBeUndefined();
  expect(one.steps).toEqual([
    { step: "mounts", ms: 5, skipped: null },
    { step: "volumes", ms: 5, skipped: "none" },
  ]);
});

test("Life blames the step that ran when something failed", async () => {
  const one = life();
  await one.step("mounts", () => {});
  const failing = one.step("network", () => {
    throw new Error("no eth0");
  });
  await failing.catch((error) => one.failed(error));
  expect(one.failure).toEqual({ step: "network", message: "no eth0" });
  expect(one.phase).toBe("failed");
});

test("Life settles at the first of running, failed and exited, and does not wait where nobody asks to", async () => {
  const one = life();
  await one.settled(0);
  const settled = one.settled(60_000);
  one.running(7);
  await settled;
  expect([one.phase, one.pid]).toEqual(["running", 7]);
});

test("Life only stops what runs", () => {
  const one = life();
  one.stopping();
  expect(one.phase).toBe("booting");
  one.running(7);
  one.stopping();
  expect(one.phase).toBe("stopping");
});

test("Life takes an acknowledgement only of an end", async () => {
  const one = life();
  one.running(7);
  one.acknowledge();
  let acknowledged = false;
  const waiting = one.acknowledged(60_000).then(() => acknowledged = true);
  await one.step("supervise", () => {});
  expect(acknowledged).toBe(false);
  one.ended(EXIT);
  expect(await one.exited(0)).toEqual({ ...EXIT, run: 0 });
  one.acknowledge();
  await waiting;
});

test("Life runs again where it is asked to, and counts", async () => {
  const one = life();
  one.running(7);
  expect(one.restart(0, 5)).toBe(false);
  one.ended(EXIT);
  expect(one.restart(0, 5)).toBe(true);
  expect([one.phase, one.run, one.pid]).toEqual(["restarting", 1, null]);
  expect(await one.verdict(60_000)).toBe(5);
  // The answer may have been lost: the same wish again changes nothing.
  expect(one.restart(0, 9_000)).toBe(true);
  expect(await one.exited(0)).toEqual({ ...EXIT, run: 0 });
  expect(await one.isToRunAfter(0)).toBe(true);
  one.running(8);
  one.ended({ ...EXIT, exit_code: 3 });
  expect(await one.exited(1)).toEqual({ ...EXIT, exit_code: 3, run: 1 });
});

test("Life refuses a restart once its end was acknowledged, or nobody said anything in time", async () => {
  const told = life();
  told.running(7);
  told.ended(EXIT);
  told.acknowledge();
  expect(told.restart(0, 5)).toBe(false);
  expect(await told.verdict(60_000)).toBeNull();
  const untold = life();
  untold.running(7);
  untold.ended(EXIT);
  expect(await untold.verdict(1)).toBeNull();
  expect(untold.restart(0, 5)).toBe(false);
});

test("Life leaves a restart that waits when it is stopped", async () => {
  const one = life();
  one.running(7);
  one.ended(EXIT);
  one.restart(0, 60_000);
  const waits = one.isToRunAfter(60_000);
  one.stopping();
  expect(await waits).toBe(false);
  one.ended(EXIT);
  expect(await one.exited(1)).toEqual({ ...EXIT, run: 1 });
});
