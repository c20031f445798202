/**
 * A short run with a new seed each time, and every input that ever failed (`corpus/`). What fails prints its seed and the
 * file that keeps it. `fuzz.long.ts` is the long run.
 */
import { afterAll, beforeAll, describe, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { fuzz, Fuzzer, parseInput } from "./fuzz.fixture.ts";

const RUNS = 300;
const CORPUS = resolve(import.meta.dir, "corpus");
const seed = Number(process.env["FUZZ_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
let fuzzer: Fuzzer;
beforeAll(async () => {
  console.log(`fuzz: FUZZ_SEED=${seed}`);
  fuzzer = await Fuzzer.start();
}, 30_000);
afterAll(() => fuzzer.stop());

describe("any bytes through a whole edge", () => {
  test("from clients", () => fuzz(fuzzer, "request", RUNS, seed), 120_000);
  test("from machines", () => fuzz(fuzzer, "response", RUNS, seed), 120_000);
});

describe("inputs that were found", () => {
  for (const name of readdirSync(CORPUS).sort()) {
    test(name, async () => {
      const { side, pieces } = parseInput(readFileSync(resolve(CORPUS, name), "utf8"));
      const whole = Buffer.concat(pieces);
      await fuzzer.run({ side, pieces });
      await fuzzer.run({ side, pieces: [whole] });
      await fuzzer.run({ side, pieces: Array.from(whole, (_, i) => whole.subarray(i, i + 1)) });
    });
  }
});
