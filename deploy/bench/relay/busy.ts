/** How much of the machine others use: a benchmark beside a load measures the load. */
import { readFileSync } from "node:fs";
import { GodwitError } from "../../../control/contract/errors.ts";

const LOOK_MS = 1_000;
/** Of all processors' time, in percent. */
export const BUSY_PERCENT_MAX = 15;

/** Of all processors' time over the next second, in percent. */
export async function busyPercent(): Promise<number> {
  const before = ticksOf(readFileSync("/proc/stat", "utf8"));
  await Bun.sleep(LOOK_MS);
  const after = ticksOf(readFileSync("/proc/stat", "utf8"));
  const total = after.total - before.total;
  return total === 0 ? 0 : Math.round((1 - (after.idle - before.idle) / total) * 1_000) / 10;
}

/** From the first line of /proc/stat (proc(5)): user nice system idle iowait irq softirq steal. */
export function ticksOf(stat: string): { total: number; idle: number } {
  const ticks = (stat.split("\n")[0] ?? "").trim().split(/\s+/).slice(1, 9).map(Number);
  return { total: ticks.reduce((sum, value) => sum + value, 0), idle: (ticks[3] ?? 0) + (ticks[4] ?? 0) };
}

/** @returns how busy the machine was before anything of the benchmark ran, in percent */
export async function refuseBesideLoad(accepted: boolean): Promise<number> {
  const busy = await busyPercent();
  if (busy <= BUSY_PERCENT_MAX || accepted) return busy;
  throw new GodwitError(
    "bench.beside_load",
    `The machine is busy: ${busy} % of its processors' time is in use`,
    {
      fault: "client",
      hint: "wait until it is quiet, or accept worthless figures with --beside-load",
    },
  );
}
