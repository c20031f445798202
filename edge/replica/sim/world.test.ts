import { describe, expect, test } from "bun:test";
import { World } from "./world.ts";

describe("World", () => {
  test("time passes from timer to timer, in order, and consequences come before the next timer", async () => {
    const world = new World(1);
    const seen: string[] = [];
    world.after(20, () => seen.push("20"));
    world.after(10, () => {
      seen.push("10");
      void Promise.resolve().then(() => Promise.resolve()).then(() => seen.push("after 10"));
    });
    world.after(10, () => seen.push("10 again"));
    await world.runUntil(15);
    expect([world.nowMs, ...seen]).toEqual([15, "10", "after 10", "10 again"]);
    await world.runUntil(30);
    expect(seen.at(-1)).toBe("20");
  });

  test("a pause ends early where its signal says so", async () => {
    const world = new World(1);
    const stop = new AbortController();
    world.after(5, () => stop.abort());
    await world.result(world.pause(1_000, stop.signal));
    expect(world.nowMs).toBe(5);
  });

  test("many timers come in order", async () => {
    const world = new World(7);
    const seen: number[] = [];
    for (let i = 0; i < 500; i++) {
      const ms = world.chance.between(0, 100);
      world.after(ms, () => seen.push(ms));
    }
    await world.runUntil(100);
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
    expect(seen.length).toBe(500);
  });
});
