/**
 * What one change costs an edge: CPU time of its replicator and of the process with its route table, over a fixed number of
 * changes at a steady pace. Unlike times on a clock it says the same beside other load, and times 50 it says how much of a
 * machine 50 edges need.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { newSigningKeyPem, signingKey } from "../../../control/contract/signing.ts";
import type { AppRow, HostnameRow } from "../../../control/contract/rows.ts";
import { ownCpuMsOf, usageOf } from "../relay/process-usage.ts";
import type { Row } from "../table-rows.ts";
import { probeHost, type ToEdge } from "./probe.ts";
import { type Program, startProgram } from "./program.ts";
import { untilRouted } from "./propagation.ts";
import type { BenchServers } from "./servers.ts";
import { StateStream } from "./state-stream.ts";

/** Those of a second are not all one batch: entries of single changes, evenly spaced. */
const RATES_PER_S = [100, 1_000] as const;
/** The runtime compiles what is run often, and after that it costs less. */
const WARMUP_CHANGES = 2_000;
const APP_ID = "c".repeat(20);

export interface CpuOptions {
  readonly edges: number;
  readonly seconds: number;
}

/** Microseconds of user and system time, of one edge. */
export interface EdgeCpu {
  readonly replicatorUs: number;
  readonly relayUs: number;
}

export interface CpuFigures {
  /** In a second without changes. */
  readonly idlePerS: EdgeCpu;
  /** For each change, by changes a second; what a second without changes costs is part of it. */
  readonly perChange: ReadonlyMap<number, EdgeCpu>;
}

export async function measureCpu(
  servers: BenchServers,
  { edges, seconds }: CpuOptions,
  say: (line: string) => void,
): Promise<CpuFigures> {
  const redis = await servers.startRedis();
  const key = signingKey(newSigningKeyPem());
  const stream = new StateStream(redis.client, key);
  await stream.append([appRow()]);
  const counts = { warmup: WARMUP_CHANGES, rates: RATES_PER_S.map((perSecond) => perSecond * seconds) };
  const probes = counts.warmup + counts.rates.reduce((sum, count) => sum + count, 0);
  const programs: Program<ToEdge>[] = [];
  for (let index = 0; index < edges; index++) {
    const file = join(servers.folder, `cpu-${index}`, "replica.sqlite");
    mkdirSync(join(file, ".."));
    const program = startProgram<ToEdge>("bench-edge.ts", { type: "stop" });
    servers.onClose(() => program.stop());
    programs.push(program);
    await program.ask({
      ...{ type: "open", redisUrl: redis.server.urlOf("edge"), replicaFiles: [file], probes },
      apiPublicKey: key.publicKey,
    });
  }
  let sent = 0;
  const spend = async (perSecond: number, count: number): Promise<EdgeCpu> => {
    const before = cpuOf(programs);
    await append(stream, sent, count, perSecond);
    sent += count;
    await untilRouted(programs, sent);
    return perUnit(before, cpuOf(programs), count * edges);
  };
  await spend(RATES_PER_S.at(-1)!, counts.warmup);
  const before = cpuOf(programs);
  await Bun.sleep(seconds * 1_000);
  const idlePerS = perUnit(before, cpuOf(programs), seconds * edges);
  say(`without changes      ${shown(idlePerS)} a second`);
  const perChange = new Map<number, EdgeCpu>();
  for (const [index, perSecond] of RATES_PER_S.entries()) {
    const spent = await spend(perSecond, counts.rates[index]!);
    perChange.set(perSecond, spent);
    say(`${perSecond} changes/s`.padEnd(21) + `${shown(spent)} a change`);
  }
  await Promise.all(programs.map((program) => program.stop()));
  await redis.stop();
  return { idlePerS, perChange };
}

interface CpuMs {
  readonly replicator: number;
  readonly relay: number;
}

/** An edge's process has one child, its replicator. */
function cpuOf(programs: readonly Program<ToEdge>[]): CpuMs {
  let [replicator, relay] = [0, 0];
  for (const { pid } of programs) {
    const own = ownCpuMsOf(pid);
    relay += own;
    replicator += usageOf(pid).cpuMs - own;
  }
  return { replicator, relay };
}

function perUnit(before: CpuMs, after: CpuMs, units: number): EdgeCpu {
  const us = (ms: number) => Math.round(ms * 1_000 / units);
  return { replicatorUs: us(after.replicator - before.replicator), relayUs: us(after.relay - before.relay) };
}

function shown({ replicatorUs, relayUs }: EdgeCpu): string {
  return `replicator ${replicatorUs} µs  relay ${relayUs} µs  together ${replicatorUs + relayUs} µs`;
}

/** An entry for each change, as a publisher makes of single changes. */
async function append(stream: StateStream, first: number, count: number, perSecond: number): Promise<void> {
  const startMs = performance.now();
  for (let done = 0; done < count;) {
    const due = Math.min(count, Math.floor((performance.now() - startMs) * perSecond / 1_000));
    if (due > done) await stream.append(probes(first + done, due - done), 1);
    done = Math.max(done, due);
    if (done < count) await Bun.sleep(1);
  }
}

function appRow(): Row {
  const row: AppRow = { id: APP_ID, name: "bench", org_id: "d".repeat(20), org_slug: "bench", services: [] };
  return { table: "apps", key: APP_ID, row };
}

function* probes(first: number, count: number): Generator<Row> {
  for (let index = first; index < first + count; index++) {
    const hostname = probeHost(index);
    const row: HostnameRow = { hostname, app_id: APP_ID };
    yield { table: "hostnames", key: hostname, row };
  }
}
