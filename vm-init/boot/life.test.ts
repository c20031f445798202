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
  expect(await one.exited).toEqual(EXIT);
  one.acknowledge();
  await waiting;
});
