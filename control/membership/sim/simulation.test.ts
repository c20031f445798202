/** Fleets in a simulated world. What is measured is printed; what is promised is asserted. */
import { describe, expect, test } from "bun:test";
import { TIMING } from "../timing.ts";
import { World, type WorldOptions } from "./world.ts";

const seedOf = (offset: number) => Number(process.env.GODWIT_SEED ?? 1) * 1_000 + offset;
/** Everybody knows of a death within this, whatever the fleet's size; without loss. */
const DEAD_MS_MAX = 3_000;
/** Datagrams a second, whatever happens: three for each half interval of gossip, probes, and answers. */
const RATE_MAX = 110;
/** After quiet everybody knows of everybody. */
const QUIET_MS_MAX = 60_000;

function joined(options: Omit<WorldOptions, "seed"> & { seed: number }): World {
  const world = new World(options);
  world.startAll();
  const tookMs = world.runUntil(() => world.agreed, QUIET_MS_MAX);
  if (tookMs === null) throw new Error(`seed ${options.seed}: not all have found each other`);
  return world;
}
const mean = (list: readonly number[]) => list.reduce((sum, each) => sum + each, 0) / list.length;
const last = (list: readonly number[]) => Math.max(...list);

describe("a fleet", () => {
  test("finds together by its seeds", () => {
    const world = new World({ seed: seedOf(1), hosts: 300 });
    world.startAll();
    const tookMs = world.runUntil(() => world.agreed, QUIET_MS_MAX);
    console.log(`300 hosts started at once know each other after ${tookMs} ms`);
    expect(tookMs).not.toBe(null);
    expect(tookMs!).toBeLessThan(15_000);
  }, 60_000);

  for (const hosts of [2, 3, 5, 50, 300]) {
    test(`knows of a death within ${DEAD_MS_MAX} ms: ${hosts} hosts`, () => {
      const world = joined({ seed: seedOf(hosts), hosts, network: { delayMs: 5, jitterMs: 20 } });
      const first: number[] = [], all: number[] = [];
      for (let i = 0; i < (hosts < 100 ? 5 : 3); i++) {
        // Another each time, where there are enough: one that dies again is held back for a while.
        const victim = world.hosts[hosts - 1 - i % (hosts - 1)]!;
        world.run(1_000 + world.random() * 1_000);
        world.crash(victim);
        const startMs = world.nowMs;
        world.runUntil(() => world.saidOf(victim).includes("dead"), 10_000);
        first.push(world.nowMs - startMs);
        world.runUntil(() => world.saidOf(victim).every((said) => said === "dead"), 10_000);
        all.push(world.nowMs - startMs);
        world.start(victim);
        // Until it is no longer damped.
        expect(world.runUntil(() => world.agreed, 120_000)).not.toBe(null);
      }
      console.log(
        `${hosts} hosts: a death is known to one after ${mean(first).toFixed(0)} ms (most ${last(first)}), ` +
          `to all after ${mean(all).toFixed(0)} ms (most ${last(all)})`,
      );
      expect(last(all)).toBeLessThan(DEAD_MS_MAX);
      expect(world.falseDeaths).toBe(0);
    }, 120_000);
  }

  const mistakes = [{ loss: 0.01, falseDeathsMax: 0 }, { loss: 0.05, falseDeathsMax: 5 }, {
    loss: 0.2,
    falseDeathsMax: 99,
  }];
  for (const { loss, falseDeathsMax } of mistakes) {
    test(
      `of 100 with ${loss * 100} % loss, delays, doubles and overtaking mistakes hardly anybody for dead`,
      () => {
        const world = joined({
          seed: seedOf(loss * 100),
          hosts: 100,
          clockDrift: 0.02,
          network: { duplication: 0.02, delayMs: 5, jitterMs: 60 },
        });
        world.network.loss = loss;
        for (const host of world.hosts) host.sent = host.sentBytes = 0;
        const seconds = 60;
        world.run(seconds * 1_000);
        const rates = world.hosts.map(({ sent }) => sent / seconds);
        const bytes = world.hosts.map(({ sentBytes }) => sentBytes / seconds);
        const suspicions = world.hosts.reduce((sum, host) => sum + host.membership!.counts.suspicions, 0);
        console.log(
          `100 hosts, ${
            loss * 100
          } % loss, ${seconds} s: ${suspicions} suspicions, ${world.falseDeaths} false deaths told; ` +
            `${mean(rates).toFixed(1)} datagrams/s a host (most ${last(rates).toFixed(1)}), ` +
            `${mean(bytes).toFixed(0)} bytes/s (most ${last(bytes).toFixed(0)})`,
        );
        // Each counts as many times as there are hosts that were told of it.
        expect(world.falseDeaths).toBeLessThanOrEqual(falseDeathsMax);
        expect(last(rates)).toBeLessThan(RATE_MAX);
        expect(world.bytesMax).toBeLessThanOrEqual(1_400);
      },
      120_000,
    );
  }

  test("at rest says little", () => {
    const world = joined({ seed: seedOf(6), hosts: 200 });
    world.run(20_000);
    for (const host of world.hosts) host.sent = host.sentBytes = 0;
    world.run(20_000);
    const rates = world.hosts.map(({ sent }) => sent / 20);
    const bytes = world.hosts.map(({ sentBytes }) => sentBytes / 20);
    console.log(
      `200 hosts at rest: ${mean(rates).toFixed(1)} datagrams/s a host (most ${last(rates).toFixed(1)}), ` +
        `${mean(bytes).toFixed(0)} bytes/s (most ${last(bytes).toFixed(0)})`,
    );
    // One probe and one answer, four times a second, and seldom more.
    expect(mean(rates)).toBeLessThan(2 * 1_000 / TIMING.probeIntervalMs + 1);
  }, 60_000);

  test(
    "that is cut in two finds that out, and finds together again when it heals, without mistaking its own for dead",
    () => {
      const world = joined({ seed: seedOf(7), hosts: 100 });
      world.split((_, index) => index < 60 ? 0 : 1);
      const apartMs = world.runUntil(
        () => world.up.every(({ membership }, index) => membership!.live === (index < 60 ? 60 : 40)),
        60_000,
      );
      expect(apartMs).not.toBe(null);
      world.run(30_000);
      expect(world.falseDeaths).toBe(0);
      world.heal();
      const live = () => world.up.every(({ membership }) => membership!.live === 100);
      const healedMs = world.runUntil(live, QUIET_MS_MAX);
      console.log(
        `100 hosts cut 60 to 40 know it after ${apartMs} ms; together again ${healedMs} ms after the cut was healed; ` +
          `${world.falseDeaths} false deaths told`,
      );
      expect(healedMs).not.toBe(null);
      world.run(20_000);
      expect(world.agreed).toBe(true);
    },
    120_000,
  );

  test("takes a restarted host back although its clock went backwards", () => {
    const world = joined({ seed: seedOf(8), hosts: 20, clockErrorMs: 3_600_000 });
    const victim = world.hosts[10]!;
    world.crash(victim);
    expect(world.runUntil(() => world.saidOf(victim).every((said) => said === "dead"), 10_000)).not.toBe(
      null,
    );
    world.start(victim);
    const backMs = world.runUntil(() => world.agreed, QUIET_MS_MAX);
    console.log(`a restarted host is alive to all after ${backMs} ms`);
    expect(backMs!).toBeLessThan(10_000);
  }, 60_000);

  test("knows who left, without calling it dead", async () => {
    const world = joined({ seed: seedOf(9), hosts: 50 });
    const leaver = world.hosts[40]!;
    await world.leave(leaver);
    world.run(5_000);
    expect(new Set(world.saidOf(leaver))).toEqual(new Set(["left"]));
    expect(world.marks.get("dead")).toBe(undefined);
  }, 60_000);

  test(
    "forgives a host that stands still for less than a second, and buries and takes back one that does so longer",
    () => {
      const world = joined({ seed: seedOf(10), hosts: 50 });
      world.pause(world.hosts[20]!, 600);
      world.run(5_000);
      expect(world.marks.get("dead")).toBe(undefined);
      world.pause(world.hosts[20]!, 6_000);
      world.run(5_500);
      expect(new Set(world.saidOf(world.hosts[20]!))).toEqual(new Set(["dead"]));
      expect(world.runUntil(() => world.agreed, QUIET_MS_MAX)).not.toBe(null);
      expect(world.falseDeaths).toBe(0);
    },
    60_000,
  );
});
