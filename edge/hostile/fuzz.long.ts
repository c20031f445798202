/** The long run of `fuzz.test.ts`: FUZZ_RUNS inputs a side, with what the process holds afterwards. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { fuzz, Fuzzer } from "./fuzz.fixture.ts";

const RUNS = Number(process.env["FUZZ_RUNS"] ?? 50_000);
/** Above what a warm process holds: a leak of 1 KB an input would show. */
const GROWTH_BYTES_MAX = 64_000_000;
const seed = Number(process.env["FUZZ_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
let fuzzer: Fuzzer;
beforeAll(async () => {
  console.log(`fuzz: FUZZ_SEED=${seed} FUZZ_RUNS=${RUNS}`);
  fuzzer = await Fuzzer.start();
}, 30_000);
afterAll(() => fuzzer.stop());

function residentBytes(): number {
  Bun.gc(true);
  return process.memoryUsage.rss();
}

describe("any bytes through a whole edge, for long", () => {
  for (const side of ["request", "response"] as const) {
    test(`${side}s`, async () => {
      await fuzz(fuzzer, side, Math.ceil(RUNS / 10), seed);
      const warm = residentBytes();
      await fuzz(fuzzer, side, RUNS, seed + 1);
      const growth = residentBytes() - warm;
      console.log(`${side}s: ${RUNS} inputs, ${(growth / 1e6).toFixed(1)} MB more than when warm`);
      expect(growth).toBeLessThan(GROWTH_BYTES_MAX);
    }, 3_600_000);
  }
});
