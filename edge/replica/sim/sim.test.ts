/** A hundred short seeds, the seeds that once failed, and the proof that a seed decides everything. */
import { describe, expect, test } from "bun:test";
import { openBunDatabase } from "../../runtime/sqlite-bun.ts";
import { run, type RunOptions } from "./run.ts";

const SEEDS = 100;
const SHORT_TICKS = 12;

/** @returns null, or what went wrong and how to see it again */
async function failureOf(options: Omit<RunOptions, "openDatabase">): Promise<string | null> {
  const { failure, lines } = await run({ openDatabase: openBunDatabase, ...options });
  if (failure === null) return null;
  const repeat = `bun run sim ${options.seed} --ticks ${options.ticks ?? "40"}`;
  return [failure.checker, failure.message, repeat, ...lines.slice(-20)].join("\n");
}

describe("the simulation", () => {
  test("a seed decides everything", async () => {
    for (const seed of [3, 4]) {
      const [first, second] = [
        await run({ seed, openDatabase: openBunDatabase, ticks: SHORT_TICKS }),
        await run({ seed, openDatabase: openBunDatabase, ticks: SHORT_TICKS }),
      ];
      expect(second.hash).toBe(first.hash);
      expect(second.marks).toEqual(first.marks);
      expect(second.lines).toEqual(first.lines);
    }
  }, 30_000);

  test("another seed is another world", async () => {
    const hashes = new Set<string>();
    for (const seed of [1, 2, 3]) {
      hashes.add((await run({ seed, openDatabase: openBunDatabase, ticks: 3 })).hash);
    }
    expect(hashes.size).toBe(3);
  }, 30_000);

  test(`${SEEDS} short seeds`, async () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      expect(await failureOf({ seed, ticks: SHORT_TICKS })).toBe(null);
    }
  }, 120_000);
});
