/** `bun run sim [SEED] [--seeds N] [--ticks N] [--trace]`: runs seeds, and says how to repeat the one that fails. */
import process from "node:process";
import { parseArgs } from "node:util";
import { loadRuntime } from "../../runtime/runtime.ts";
import { expectedMarks } from "./marks.ts";
import { run, type RunReport, TICKS } from "./run.ts";

const TRACE_LINES_SHOWN = 60;
/** So many seeds are a night: every mark must have been met. */
const NIGHT_SEEDS = 500;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seeds: { type: "string", default: "1" },
    ticks: { type: "string", default: String(TICKS) },
    trace: { type: "boolean", default: false },
  },
});
const [seed, seeds, ticks] = [positionals[0] ?? String(Date.now() % 2 ** 31), values.seeds, values.ticks].map(
  Number,
);
if (![seed, seeds, ticks].every((value) => Number.isInteger(value) && value! >= 0)) {
  console.error("usage: bun run sim [SEED] [--seeds N] [--ticks N] [--trace]");
  process.exit(2);
}
const { openDatabase } = await loadRuntime();
const met = new Map<string, number>();
const startedMs = performance.now();
let failed = 0, virtualMs = 0;
let last: RunReport | null = null;
for (let n = 0; n < seeds!; n++) {
  last = await run({ seed: seed! + n, openDatabase, ticks: ticks! });
  virtualMs += last.virtualMs;
  for (const [mark, times] of last.marks) met.set(mark, (met.get(mark) ?? 0) + times);
  if (last.failure === null && !values.trace) continue;
  for (const line of last.lines.slice(-(values.trace ? Infinity : TRACE_LINES_SHOWN))) console.log(line);
  if (last.failure === null) continue;
  failed++;
  console.log(`seed ${last.seed}: ${last.failure.checker}: ${last.failure.message}`);
  console.log(`repeat with: bun run sim ${last.seed} --ticks ${ticks}`);
}
for (const [mark, times] of [...met].sort(([a], [b]) => a < b ? -1 : 1)) {
  console.log(`${String(times).padStart(9)} ${mark}`);
}
const missing = last === null ? [] : expectedMarks(last.features).filter((mark) => !met.has(mark));
const isNight = seeds! >= NIGHT_SEEDS;
if (isNight && missing.length > 0) console.log(`not met: ${missing.join("; ")}`);
const tookS = ((performance.now() - startedMs) / 1_000).toFixed(1);
console.log(
  `seeds ${seed} to ${seed! + seeds! - 1}, ${ticks} ticks each: ${failed} failed; ` +
    `${(virtualMs / 60_000).toFixed(0)} virtual minutes in ${tookS} s; last hash ${last?.hash}`,
);
if (failed > 0 || (isNight && missing.length > 0)) process.exit(1);
