/** A hundred short seeds, the seeds that once failed, and the proof that a seed decides everything. */
import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { openBunDatabase } from "../../runtime/sqlite-bun.ts";
import { openNodeDatabase } from "../../runtime/sqlite-node.ts";
import { RUNTIMES } from "../../workers/workers.fixture.ts";
import { run, type RunOptions } from "./run.ts";

const SEEDS = 100;
const SHORT_TICKS = 12;

const runOf = (options: Omit<RunOptions, "openDatabase">) =>
  run({ openDatabase: openBunDatabase, ...options });

/** @returns null, or what went wrong and how to see it again */
async function failureOf(options: Omit<RunOptions, "openDatabase">): Promise<string | null> {
  const { failure, lines } = await runOf(options);
  if (failure === null) return null;
  const repeat = `bun run sim ${options.seed} --ticks ${options.ticks}`;
  return [failure.checker, failure.message, repeat, ...lines.slice(-20)].join("\n");
}

describe("the simulation", () => {
  test("a seed decides everything", async () => {
    for (const seed of [3, 50]) {
      const first = await runOf({ seed, ticks: SHORT_TICKS });
      await runOf({ seed: seed + 1, ticks: SHORT_TICKS });
      const second = await runOf({ seed, ticks: SHORT_TICKS });
      expect(second.lines).toEqual(first.lines);
      expect(second.marks).toEqual(first.marks);
      expect(second.hash).toBe(first.hash);
    }
  }, 60_000);

  test("another seed is another world", async () => {
    const hashes = new Set<string>();
    for (const seed of [1, 2, 3]) hashes.add((await runOf({ seed, ticks: 3 })).hash);
    expect(hashes.size).toBe(3);
  }, 60_000);

  for (const runtime of ["bun", "deno"] as const) {
    const [program] = RUNTIMES[runtime];
    if (program === undefined || !existsSync(program)) {
      test.skip(`skipped: there is no ${runtime} here`, () => {});
      continue;
    }
    test(`a seed is the same run in a process of ${runtime}`, async () => {
      const { hash } = await runOf({ seed: 50, ticks: SHORT_TICKS });
      const main = new URL("main.ts", import.meta.url).pathname;
      const argv = [...RUNTIMES[runtime], main, "50", "--ticks", String(SHORT_TICKS)];
      const child = Bun.spawn(argv, { stdin: "ignore", stdout: "pipe", stderr: "inherit" });
      const said = await new Response(child.stdout).text();
      expect(await child.exited).toBe(0);
      expect(said).toContain(`last hash ${hash}`);
    }, 60_000);
  }

  test("runs on the other binding of SQLite", async () => {
    for (const seed of [1, 2, 3]) {
      const { failure } = await run({ seed, ticks: SHORT_TICKS, openDatabase: openNodeDatabase });
      expect(failure).toBe(null);
    }
  }, 60_000);

  test(`${SEEDS} short seeds`, async () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      expect(await failureOf({ seed, ticks: SHORT_TICKS })).toBe(null);
    }
  }, 300_000);
});

describe("worlds that once went wrong", () => {
  test(
    "an owner that looks at its stream at digests only does not see a tail that was lost before its last entry",
    async () => {
      for (let seed = 1; seed <= 60; seed++) {
        const world = { seed, ticks: 20, faults: ["fail over"] } as const;
        if ((await runOf({ ...world, looks: "at_digests" })).failure === null) continue;
        return expect(await failureOf({ ...world, looks: "at_connects_too" })).toBe(null);
      }
      throw new Error("no world shows it any more");
    },
    120_000,
  );

  const seeds: [what: string, seed: number, ticks: number][] = [
    ["a connection under way is closed with its process", 1221, 40],
    ["a process that ends within a transaction leaves no lock behind", 50, 12],
    ["rows of regions that are not followed come with a snapshot, and go", 325, 25],
    // Two faults at once: neither file has it at the take-over, so nobody tells the relay that it is gone.
    ["the relay forgets a row that its file lost by damage and its owner by a restore", 395, 25],
    ["a download ends with its process, and writes over no file of the next one", 5182, 40],
    ["a digest's floor takes no row away whose newer version was trimmed from the stream", 2119, 40],
  ];
  for (const [what, seed, ticks] of seeds) {
    test(`${what} (seed ${seed})`, async () => expect(await failureOf({ seed, ticks })).toBe(null), 60_000);
  }
});
