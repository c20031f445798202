/**
 * What it costs to decide where a request goes, and what the table for it weighs, with 100,000 host names and 1,000,000
 * machines in the edge's real route table. Each round is a process of its own; figures are medians over the rounds.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { GodwitError } from "../../control/contract/errors.ts";
import type { Bench } from "./bench.ts";
import { wholeNumber } from "./options.ts";
import { median } from "./rounds.ts";
import type { TableMeasure } from "./route/measure-table.ts";

const MACHINES_DEFAULT = 1_000_000;
const ROUNDS_DEFAULT = 5;
const program = join(import.meta.dir, "route/measure-table.ts");

export const bench: Bench = {
  summary: "what a routing decision costs, and what each machine weighs in the table",
  async run(options, say) {
    const { values } = parseArgs({
      args: options,
      options: { rounds: { type: "string" }, machines: { type: "string" } },
    });
    const rounds = wholeNumber("rounds", values.rounds, ROUNDS_DEFAULT);
    const machines = wholeNumber("machines", values.machines, MACHINES_DEFAULT);
    if (machines % 2_000 !== 0) {
      throw new GodwitError(
        "bench.invalid_option",
        `--machines must be a multiple of 2,000, not ${machines}`,
        {
          fault: "client",
        },
      );
    }
    const measures: TableMeasure[] = [];
    for (let round = 0; round < rounds; round++) {
      const measure = await measureOnce(machines);
      measures.push(measure);
      say(
        `round ${round + 1}  ${measure.bytes_per_machine} bytes a machine  ` +
          `${worst(measure.decision_us)} µs a decision  ${measure.apply_s} s to apply ${measure.rows} rows`,
      );
    }
    return report(measures, say);
  },
};

async function measureOnce(machines: number): Promise<TableMeasure> {
  const child = Bun.spawn([process.execPath, program, String(machines)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const output = await new Response(child.stdout).text();
  if (await child.exited === 0) return JSON.parse(output) as TableMeasure;
  throw new GodwitError("bench.child_failed", `measuring the table ended with ${child.exitCode}`, {
    fault: "us",
    hint: "what it said stands above",
  });
}

function report(measures: readonly TableMeasure[], say: (line: string) => void) {
  const first = measures[0]!;
  const names = Object.keys(first.decision_us);
  const decisionUs = Object.fromEntries(
    names.map((name) => [name, median(measures.map((m) => m.decision_us[name]!))]),
  );
  const bytes = median(measures.map((m) => m.bytes_per_machine));
  say(`\n${first.hostnames} host names, ${first.machines} machines, median of ${measures.length}:`);
  for (const name of names) {
    const [size, law] = name.split("_");
    say(`  ${law!.padEnd(8)} over ${serviceWords(size!).padEnd(26)} ${decisionUs[name]!.toFixed(3)} µs`);
  }
  say(`  memory                                      ${bytes} bytes a machine`);
  return {
    /** The dearest of all distributions. */
    decision_us: worst(decisionUs),
    bytes_per_machine: bytes,
    decision_us_by_distribution: decisionUs,
    bytes_per_machine_by_round: measures.map((m) => m.bytes_per_machine),
    apply_rows_per_s: Math.round(first.rows / median(measures.map((m) => m.apply_s))),
    machines: first.machines,
    hostnames: first.hostnames,
  };
}

function serviceWords(size: string): string {
  return size === "all" ? "all services" : `services of ${size} machine${size === "1" ? "" : "s"}`;
}

function worst(figures: Record<string, number>): number {
  return Math.max(...Object.values(figures));
}
