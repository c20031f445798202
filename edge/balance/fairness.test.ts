/** 1,000,000 simulated requests through the real pick: how evenly machines are loaded, printed and bounded. */
import { expect, test } from "bun:test";
import { seeded, simulate, type SimulatedMachine, type Spread } from "./simulation.fixture.ts";

const SEED = Number(process.env.GODWIT_SEED ?? 20_260_101);
const show = ({ most, least, deviation }: Spread) =>
  `most ${most.toFixed(3)} x mean, least ${least.toFixed(3)} x mean, deviation ${
    (deviation * 100).toFixed(1)
  } %`;

/** 40 machines: three sizes, two of them with a hard limit, three speeds. */
const unequal: SimulatedMachine[] = Array.from({ length: 40 }, (_, i) => {
  const softLimit = [10, 20, 50][i % 3]!;
  return {
    softLimit,
    hardLimit: i % 2 === 0 ? softLimit * 1.2 : Infinity,
    serviceMs: [5, 20, 80][i % 4 % 3]!,
  };
});
/** Requests a millisecond that all can take below their soft limits. */
const capacity = (machines: readonly SimulatedMachine[]) =>
  machines.reduce((sum, { softLimit, serviceMs }) => sum + softLimit / serviceMs, 0);

// A machine is in at most two draws of n, so one that is both larger and much faster than most (here 80 times the
// requests of the slowest) is offered less than it could take, and idles a little; the others stay close to the mean.
test("unequal machines have alike shares of their soft limits taken", () => {
  const result = simulate(unequal, 500_000, 1 / (capacity(unequal) * 0.6), seeded(SEED));
  console.log(`seed ${SEED}, 60 % of capacity: load ${show(result.load)}`);
  expect(result.load.most).toBeLessThan(1.3);
  expect(result.load.least).toBeGreaterThan(0.4);
  expect(result.load.deviation).toBeLessThan(0.3);
  expect(result).toMatchObject({ queued: 0, overHardLimit: 0, overSoftLimitInVain: 0 });
});

test("equal machines get equal numbers of requests", () => {
  const equal = Array.from({ length: 20 }, () => ({ softLimit: 20, hardLimit: 25, serviceMs: 20 }));
  const result = simulate(equal, 250_000, 1 / (capacity(equal) * 0.5), seeded(SEED));
  console.log(`seed ${SEED}, equal machines at 50 %: requests ${show(result.requests)}`);
  expect(result.requests.most).toBeLessThan(1.05);
  expect(result.requests.deviation).toBeLessThan(0.02);
  expect(result.overHardLimit).toBe(0);
});

test("over capacity no machine goes past its hard limit, and what waits is served", () => {
  const limited = unequal.map((machine) => ({ ...machine, hardLimit: machine.softLimit * 1.2 }));
  const result = simulate(limited, 250_000, 1 / (capacity(limited) * 1.25), seeded(SEED));
  console.log(`seed ${SEED}, 125 %: load ${show(result.load)}; ${result.queued} queued`);
  expect(result.queued).toBeGreaterThan(0);
  expect(result).toMatchObject({ overHardLimit: 0, overSoftLimitInVain: 0 });
  expect(result.load.deviation).toBeLessThan(0.05);
});
