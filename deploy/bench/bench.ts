/** What a benchmark is, and on what it ran. */
import { readFileSync } from "node:fs";
import { cpus, loadavg, release, totalmem } from "node:os";

export interface Bench {
  /** One line: what is measured against what. */
  readonly summary: string;
  /** A line for each option, for `--help`. */
  readonly help?: readonly string[];
  /** Resolves to the fields of the last line; `ratio` where there is a peer. */
  run(options: string[], say: (line: string) => void): Promise<object>;
}

export interface MachineInfo {
  readonly cpu: string;
  readonly cpus: number;
  readonly memory_mb: number;
  readonly kernel: string;
  readonly bun: string;
  readonly load_1m: number;
  /** Share of the CPUs' time that other guests of the hardware took since boot, in percent. */
  readonly steal_percent: number;
}

export function readMachineInfo(): MachineInfo {
  const processors = cpus();
  return {
    cpu: processors[0]?.model ?? "unknown",
    cpus: processors.length,
    memory_mb: Math.round(totalmem() / 1_048_576),
    kernel: release(),
    bun: process.versions.bun ?? "none",
    load_1m: Math.round((loadavg()[0] ?? 0) * 100) / 100,
    steal_percent: stealPercent(readFileSync("/proc/stat", "utf8")),
  };
}

/** From the first line of /proc/stat (proc(5)): user nice system idle iowait irq softirq steal …. */
export function stealPercent(stat: string): number {
  const ticks = (stat.split("\n")[0] ?? "").trim().split(/\s+/).slice(1, 9).map(Number);
  const total = ticks.reduce((sum, value) => sum + value, 0);
  return total === 0 ? 0 : Math.round((ticks[7] ?? 0) / total * 1_000) / 10;
}

export function describeMachine(machine: MachineInfo): string {
  return `on ${machine.cpus} x ${machine.cpu}, ${machine.memory_mb} MB, Linux ${machine.kernel}, Bun ${machine.bun}; ` +
    `load ${machine.load_1m}, steal ${machine.steal_percent} %`;
}
