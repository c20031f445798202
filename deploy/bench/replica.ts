/**
 * Replication: how soon a change is routed on many edges, how fast one replicator applies, begins and makes up for what
 * it missed, and what a storm of rows costs the requests. README.md here says how the figures are made.
 */
import { parseArgs } from "node:util";
import { GodwitError } from "../../control/contract/errors.ts";
import { installMissing } from "../setup/install.ts";
import type { Bench } from "./bench.ts";
import { wholeNumber } from "./options.ts";
import { refuseBesideLoad } from "./relay/busy.ts";
import { type ApplyRate, measureApplyRate } from "./replica/apply-rate.ts";
import { type CpuFigures, measureCpu } from "./replica/cpu.ts";
import { measurePropagation, type Propagation } from "./replica/propagation.ts";
import { type BenchServers, withServers } from "./replica/servers.ts";
import { measureStorm, type Storm } from "./replica/storm.ts";

const PARTS = ["cpu", "propagation", "apply", "storm"] as const;
type Part = (typeof PARTS)[number];

const EDGES_DEFAULT = 50;
const SECONDS_DEFAULT = 30;
/** A batch costs an edge a third less once the runtime has compiled what each of them runs, which takes some thousands. */
const WARMUP_SECONDS_DEFAULT = 20;
const CPU_EDGES_DEFAULT = 4;
const CPU_SECONDS_DEFAULT = 20;
const MACHINES_DEFAULT = 1_000_000;
const ROUNDS_DEFAULT = 5;
const ROUND_SECONDS_DEFAULT = 4;

const OPTIONS = {
  parts: { type: "string" },
  edges: { type: "string" },
  "edges-per-process": { type: "string" },
  seconds: { type: "string" },
  warmup: { type: "string" },
  "cpu-edges": { type: "string" },
  "cpu-seconds": { type: "string" },
  machines: { type: "string" },
  missed: { type: "string" },
  rounds: { type: "string" },
  "round-seconds": { type: "string" },
  "beside-load": { type: "boolean" },
} as const;

export const bench: Bench = {
  summary: "from Postgres to routed on 50 edges, a replica's rates, the relay in a storm of rows",
  async run(argv, say) {
    const { values } = parseArgs({ args: argv, options: OPTIONS });
    const number = (name: keyof typeof values & string, otherwise: number) =>
      wholeNumber(name, values[name] as string | undefined, otherwise);
    const parts = chosenParts(values.parts ?? null);
    const machines = number("machines", MACHINES_DEFAULT);
    if (machines % 2_000 !== 0) {
      throw new GodwitError(
        "bench.invalid_option",
        `--machines must be a multiple of 2,000, not ${machines}`,
        { fault: "client" },
      );
    }
    const propagation = {
      edges: number("edges", EDGES_DEFAULT),
      edgesPerProcess: number("edges-per-process", 1),
      seconds: number("seconds", SECONDS_DEFAULT),
      warmupSeconds: number("warmup", WARMUP_SECONDS_DEFAULT),
    };
    const cpu = {
      edges: number("cpu-edges", CPU_EDGES_DEFAULT),
      seconds: number("cpu-seconds", CPU_SECONDS_DEFAULT),
    };
    const apply = {
      machines,
      missedChanges: values.missed === undefined ? null : number("missed", 1),
    };
    const storm = {
      rounds: number("rounds", ROUNDS_DEFAULT),
      seconds: number("round-seconds", ROUND_SECONDS_DEFAULT),
    };
    await installMissing({ forCheck: false, forBench: true, mayInstall: true, say });
    const busy_percent = await refuseBesideLoad(values["beside-load"] ?? false);
    let result: object = {};
    const measure = async (part: Part, work: (servers: BenchServers) => Promise<object>) => {
      if (!parts.includes(part)) return;
      say(`\n${part}`);
      result = { ...result, ...await withServers(work) };
    };
    await measure("cpu", async (servers) => cpuFigures(await measureCpu(servers, cpu, say)));
    await measure("propagation", async (servers) => ({
      ...propagationFigures(await measurePropagation(servers, propagation, say)),
      edges: propagation.edges,
    }));
    await measure("apply", async (servers) => applyFigures(await measureApplyRate(servers, apply, say)));
    await measure("storm", async (servers) => stormFigures(await measureStorm(servers, storm, say)));
    return { ...result, busy_percent };
  },
};

function chosenParts(names: string | null): readonly Part[] {
  if (names === null) return PARTS;
  return names.split(",").map((name) => {
    const found = PARTS.find((part) => part === name);
    if (found !== undefined) return found;
    throw new GodwitError("bench.invalid_option", `--parts: there is no part ${name}`, {
      fault: "client",
      hint: `there are: ${PARTS.join(", ")}`,
    });
  });
}

function cpuFigures({ idlePerS, perChange }: CpuFigures) {
  const [slow, fast] = [perChange.get(100), perChange.get(1_000)];
  return {
    replicator_cpu_us_per_change: slow?.replicatorUs,
    relay_cpu_us_per_change: slow?.relayUs,
    replicator_cpu_us_per_change_1k: fast?.replicatorUs,
    relay_cpu_us_per_change_1k: fast?.relayUs,
    replicator_cpu_us_per_idle_s: idlePerS.replicatorUs,
    relay_cpu_us_per_idle_s: idlePerS.relayUs,
  };
}

function propagationFigures({ slow, fast, warmup, ...rest }: Propagation) {
  return {
    propagation_p50_ms: slow.p50Ms,
    propagation_p99_ms: slow.p99Ms,
    propagation_max_ms: slow.maxMs,
    propagation_all_edges_p50_ms: slow.lastEdgeP50Ms,
    propagation_all_edges_p99_ms: slow.lastEdgeP99Ms,
    propagation_1k_p50_ms: fast.p50Ms,
    propagation_1k_p99_ms: fast.p99Ms,
    propagation_1k_all_edges_p99_ms: fast.lastEdgeP99Ms,
    propagation_1k_per_s: rest.fastPerS,
    propagation_1k_late_changes: rest.lateChanges,
    edge_cpu_us_per_change: rest.edgeCpuUs,
    warmup_p50_ms: warmup.p50Ms,
    warmup_p99_ms: warmup.p99Ms,
    processes: rest.processes,
    changes: rest.changes,
    rows_checked: rest.rowsChecked,
  };
}

function applyFigures(
  { rowsPerS, bootstrap, tailChanges, snapshotMb, bootstrapStream, catchUp, missedChanges }: ApplyRate,
) {
  return {
    rows_per_s: rowsPerS,
    bootstrap_1m_s: hundredths(bootstrap.seconds),
    bootstrap_rows: bootstrap.rows,
    bootstrap_tail_changes: tailChanges,
    bootstrap_snapshot_mb: snapshotMb,
    bootstrap_peak_mb: bootstrap.peakMemoryMb,
    bootstrap_stream_1m_s: hundredths(bootstrapStream.seconds),
    bootstrap_stream_peak_mb: bootstrapStream.peakMemoryMb,
    catch_up_s: hundredths(catchUp.seconds),
    catch_up_changes: missedChanges,
    catch_up_peak_mb: catchUp.peakMemoryMb,
  };
}

function stormFigures(storm: Storm) {
  return {
    relay_during_storm_ratio: storm.ratio,
    relay_quiet_per_s: storm.quietRequestsPerS,
    relay_storm_per_s: storm.stormRequestsPerS,
    relay_quiet_p99_ms: storm.quietP99Ms,
    relay_storm_p99_ms: storm.stormP99Ms,
    storm_rows_per_s: storm.rowsPerS,
    storm_beside_cores: hundredths(storm.besideCores),
    storm_cores: storm.cores,
    storm_relay_rows_share: hundredths(storm.relayRowsShare),
    relay_during_storm_ratio_possible: hundredths(storm.possibleRatio),
  };
}

function hundredths(value: number): number {
  return Math.round(value * 100) / 100;
}
