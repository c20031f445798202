/**
 * Everything at once, out of a seed: loss, delay, doubles, overtaking, partitions, crashes, restarts with wrong clocks,
 * farewells, hosts that stand still. Then quiet, after which everybody must know of everybody. A seed that fails is run
 * again with GODWIT_SEED=N.
 */
import { expect, test } from "bun:test";
import { MEMBERS_MAX } from "../../contract/membership.ts";
import { World } from "./world.ts";

const SEEDS = process.env.GODWIT_SEED === undefined
  ? Array.from({ length: 12 }, (_, i) => i + 1)
  : [Number(process.env.GODWIT_SEED)];
const HOSTS = 30;
const STEPS = 40;
/** Longer than the longest hold of a host that flapped (`flaps.ts`). */
const QUIET_MS_MAX = 120_000;
const MARKS = [
  "alive",
  "suspect",
  "dead",
  "left",
  "ask",
  "nack",
  "crash",
  "restart",
  "split",
  "pause",
  "leave",
  "refutation",
  "stall",
  "suspicion ran out",
  "held",
];

test("after any chaos and then quiet no live host stays dead, and no dead one alive", async () => {
  const reached = new Map<string, number>();
  const quietMs: number[] = [];
  for (const seed of SEEDS) {
    const world = await chaos(seed);
    Object.assign(world.network, { loss: 0, duplication: 0, delayMs: 2, jitterMs: 5 });
    world.heal();
    // Somebody must be where those who have just begun look.
    for (const host of world.hosts.slice(0, 3)) if (host.membership === null) world.start(host);
    const tookMs = world.runUntil(() => world.agreed, QUIET_MS_MAX, 100);
    if (tookMs === null) {
      throw new Error(`seed ${seed}: not agreed after ${QUIET_MS_MAX} ms: ${complaints(world)}`);
    }
    quietMs.push(tookMs);
    expect(world.membersMax).toBeLessThanOrEqual(MEMBERS_MAX);
    for (const { membership } of world.up) {
      const { refutations, stalls, deaths } = membership!.counts;
      if (refutations > 0) world.sometimes("refutation");
      if (stalls > 0) world.sometimes("stall");
      if (deaths > 0) world.sometimes("suspicion ran out");
    }
    for (const [mark, count] of world.marks) reached.set(mark, (reached.get(mark) ?? 0) + count);
  }
  console.log(
    `${SEEDS.length} seeds; agreed after at most ${Math.max(...quietMs)} ms of quiet;`,
    Object.fromEntries(reached),
  );
  if (SEEDS.length > 1) {
    for (const mark of MARKS) expect(`${mark} ${reached.get(mark) ?? 0}`).not.toBe(`${mark} 0`);
  }
}, 300_000);

async function chaos(seed: number): Promise<World> {
  const world = new World({ seed, hosts: HOSTS, clockDrift: 0.05, clockErrorMs: 60_000 });
  const { random } = world;
  const below = (limit: number) => Math.floor(random() * limit);
  world.startAll();
  for (let step = 0; step < STEPS; step++) {
    Object.assign(world.network, {
      loss: random() < 0.5 ? 0 : random() * 0.3,
      duplication: random() * 0.1,
      delayMs: random() * 50,
      jitterMs: random() * 200,
    });
    const host = world.hosts[below(HOSTS)]!;
    const draw = random();
    if (draw < 0.35) {
      world.sometimes(host.membership === null ? "restart" : "crash");
      if (host.membership === null) world.start(host);
      else world.crash(host);
    } else if (draw < 0.5) {
      world.sometimes("pause");
      world.pause(host, random() * 8_000);
    } else if (draw < 0.6 && host.membership !== null) {
      world.sometimes("leave");
      await world.leave(host);
    } else if (draw < 0.75) {
      world.sometimes("split");
      const sides = 2 + below(2);
      world.split(() => below(sides));
    } else if (draw < 0.9) world.heal();
    world.run(random() * 5_000);
  }
  return world;
}

function complaints(world: World): string {
  const wrong: string[] = [];
  for (const by of world.up) {
    for (const about of world.up) {
      const said = by.membership!.stateOf(about.name);
      if (about !== by && said !== "alive") wrong.push(`${by.name} says of ${about.name}: ${said}`);
    }
    if (by.membership!.live > world.up.length) wrong.push(`${by.name} counts ${by.membership!.live}`);
  }
  return wrong.slice(0, 5).join("; ");
}
