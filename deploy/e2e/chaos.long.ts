/**
 * Chaos on one stack: parts are killed or paused at random while requests go on and apps are created. Runs in
 * `bun run check --long`; GODWIT_CHAOS_SEED repeats a run, GODWIT_CHAOS_S sets its length.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { seededRandom } from "../bench/seeded-random.ts";
import { homeAt } from "../stack/home.ts";
import { liveRecords } from "../stack/identity.ts";
import { describeLeftovers, findLeftovers } from "../stack/leftovers.ts";
import { Stack } from "./stack.ts";

const LENGTH_S = Number(process.env.GODWIT_CHAOS_S ?? 600);
const SEED = Number(process.env.GODWIT_CHAOS_SEED ?? crypto.getRandomValues(new Uint32Array(1))[0]);
const STEP_MS = LENGTH_S * 1_000 + 600_000;
const HEAL_MS = 60_000;
const VICTIMS = [
  "postgres",
  "redis",
  "registry",
  "control",
  "worker",
  "membership",
  "edge",
  "snapshots",
] as const;
const PAUSE_MS_MAX = 3_000;

const stack = new Stack();
beforeAll(async () => {
  await stack.up("--vmm", "runc");
}, STEP_MS);
afterAll(async () => {
  await stack.downAndPurge();
}, STEP_MS);

test(
  `chaos with seed ${SEED} for ${LENGTH_S} s: no request that did not need the dead part fails, no acknowledged app is lost`,
  async () => {
    const random = seededRandom(SEED);
    const machine = (await (await stack.get("example")).json()).machine;
    const acknowledged: string[] = [];
    let requests = 0;
    const deadline = Date.now() + LENGTH_S * 1_000;
    for (let round = 0; Date.now() < deadline; round++) {
      const victim = VICTIMS[Math.floor(random() * VICTIMS.length)]!;
      const pauses = random() < 0.3;
      const pauseMs = random() * PAUSE_MS_MAX;
      const record = liveRecords(homeAt(stack.home).runFolder).find((r) => r.name === victim);
      if (record === undefined) throw new Error(`round ${round}: ${victim} does not run`);
      console.log(
        `round ${round}: ${pauses ? `pause ${Math.round(pauseMs)} ms` : "kill -9"} ${victim} (${record.pid})`,
      );
      process.kill(record.pid, pauses ? "SIGSTOP" : "SIGKILL");
      const healed = Date.now() + (pauses ? pauseMs : 0);
      if (victim === "edge") {
        if (pauses) await Bun.sleep(pauseMs);
      } else {
        do {
          expect({ round, victim, status: (await stack.get("example")).status }).toMatchObject({
            status: 200,
          });
          requests++;
        } while (Date.now() < healed);
      }
      if (pauses) process.kill(record.pid, "SIGCONT");
      const name = `chaos-${round}`;
      await stack.until(`round ${round}: an app can be created`, () => create(name), (done) => done, HEAL_MS);
      acknowledged.push(name);
      await stack.until(
        `round ${round}: the edge answers`,
        () => stack.get("example"),
        (answer) => answer.status === 200,
        HEAL_MS,
      );
      await stack.until(
        `round ${round}: every part runs`,
        () => Promise.resolve(liveRecords(homeAt(stack.home).runFolder).map((r) => r.name)),
        (names) => VICTIMS.every((part) => names.includes(part)),
        HEAL_MS,
      );
    }
    expect(acknowledged.length).toBeGreaterThan(0);
    for (const name of acknowledged) {
      // Known to the edge, with no machine behind it: 503; an app that was lost would be 404.
      await stack.until(
        `the edge knows ${name}`,
        () => stack.get(name),
        (answer) => answer.status === 503,
        HEAL_MS,
      );
    }
    expect((await (await stack.get("example")).json()).machine).toBe(machine);
    console.log(`${acknowledged.length} rounds, ${requests} requests beside a dead part`);
    expect((await stack.command("down")).status).toBe(0);
    expect(describeLeftovers(await findLeftovers(homeAt(stack.home)))).toEqual([]);
  },
  STEP_MS,
);

/** True once it is there, also where an earlier try was acknowledged and its answer lost. */
async function create(name: string): Promise<boolean> {
  try {
    await stack.createApp(name);
    return true;
  } catch (error) {
    if (error instanceof Error && error.message.startsWith("app.name_taken")) return true;
    throw error;
  }
}
