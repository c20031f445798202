/**
 * How long a change takes from its COMMIT in Postgres until it is routed, on many edges of this machine: outbox, publisher,
 * Redis, a replicator for each edge, its file, its route table.
 */
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { SQL } from "bun";
import { assert, GodwitError } from "../../../control/contract/errors.ts";
import { usageOf } from "../relay/process-usage.ts";
import { compareReplica, expectedRows } from "./compare-replicas.ts";
import { type Delays, delaysOf } from "./percentiles.ts";
import type { ToEdge, ToSource } from "./probe.ts";
import { type Program, startProgram } from "./program.ts";
import type { BenchServers } from "./servers.ts";

const SLOW_PER_S = 100;
const FAST_PER_S = 1_000;
/** Single changes at the slow pace; at the fast one Postgres' own time for each would be what is measured. */
const FAST_PER_TRANSACTION = 10;
/** Processes that start at the same time slow each other down. */
const STARTED_AT_ONCE = 4;
const LOOK_INTERVAL_MS = 200;
/** From the last change until every edge has routed it. */
const SETTLE_MS_MAX = 60_000;

export interface PropagationOptions {
  readonly edges: number;
  /** Route tables that share a process; each edge has a replicator of its own all the same. */
  readonly edgesPerProcess: number;
  readonly seconds: number;
  readonly warmupSeconds: number;
}

export interface Propagation {
  readonly warmup: Delays;
  readonly slow: Delays;
  readonly fast: Delays;
  /** Changes a second that were committed at the fast pace. */
  readonly fastPerS: number;
  /** Of those the ones that began late, because the pace could not be kept. */
  readonly lateChanges: number;
  /** What an edge's processes used for each change at the slow pace, whatever else the machine did. */
  readonly edgeCpuUs: number;
  readonly processes: number;
  readonly changes: number;
  readonly rowsChecked: number;
}

interface Phase {
  readonly name: string;
  readonly perSecond: number;
  readonly perTransaction: number;
  readonly seconds: number;
}

export async function measurePropagation(
  servers: BenchServers,
  options: PropagationOptions,
  say: (line: string) => void,
): Promise<Propagation> {
  const { edges, seconds, warmupSeconds } = options;
  const phases: Phase[] = [
    { name: "warm-up", perSecond: SLOW_PER_S, perTransaction: 1, seconds: warmupSeconds },
    { name: "100 changes/s", perSecond: SLOW_PER_S, perTransaction: 1, seconds },
    { name: "1,000 changes/s", perSecond: FAST_PER_S, perTransaction: FAST_PER_TRANSACTION, seconds },
  ];
  const probes = phases.reduce((sum, { perSecond, seconds }) => sum + perSecond * seconds, 0);
  const [redis, postgres] = [await servers.startRedis(), await servers.startPostgres()];
  const source = startProgram<ToSource>("change-source.ts", { type: "stop" });
  servers.onClose(() => source.stop());
  await source.ask({
    type: "open",
    databaseUrl: postgres.url,
    redisUrl: redis.server.urlOf("api"),
    probes,
  });
  const started = await startEdges(servers, redis.server.urlOf("edge"), options, probes);
  say(`${edges} edges of ${edges} replicators and ${started.length} processes with their tables`);
  const files = started.flatMap(({ files }) => files);

  let first = 0;
  let [fastPerS, lateChanges, edgeCpuUs] = [0, 0, 0];
  const counts: number[] = [];
  for (const { perSecond, perTransaction, seconds } of phases) {
    const usedMs = cpuMsOf(started);
    const ran = await source.ask({
      type: "run",
      first,
      count: perSecond * seconds,
      perSecond,
      perTransaction,
    });
    assert(ran.type === "ran", ran.type);
    first += ran.count;
    counts.push(ran.count);
    await untilRouted(started.map(({ program }) => program), first);
    const usedUs = (cpuMsOf(started) - usedMs) * 1_000 / ran.count / edges;
    if (perSecond === SLOW_PER_S) edgeCpuUs = Math.round(usedUs);
    else [fastPerS, lateChanges] = [Math.round(ran.count / ran.seconds), ran.late];
  }

  const committedFile = join(servers.folder, "committed");
  await source.ask({ type: "report", file: committedFile });
  const committedMs = doublesOf(committedFile);
  const routedMs: Float64Array[] = [];
  for (const { program, files } of started) {
    const reports = files.map((file) => `${file}.routed`);
    await program.ask({ type: "report", files: reports });
    routedMs.push(...reports.map(doublesOf));
  }
  const delays: Delays[] = [];
  let from = 0;
  for (const [index, { name }] of phases.entries()) {
    const measured = delaysOf(committedMs, routedMs, from, counts[index]!);
    from += counts[index]!;
    delays.push(measured);
    say(
      `${name.padEnd(16)} p50 ${measured.p50Ms} ms  p99 ${measured.p99Ms} ms  max ${measured.maxMs} ms  ` +
        `until the last edge p99 ${measured.lastEdgeP99Ms} ms`,
    );
  }
  const expected = await expectedRows(redis.client);
  await compareWithPostgres(postgres.url, expected.keys());
  const rowsChecked = files.reduce((sum, file) => sum + compareReplica(file, expected), 0);
  say(`${rowsChecked} rows compared on ${files.length} edges`);
  await Promise.all(started.map(({ program }) => program.stop()));
  await source.stop();
  const [warmup, slow, fast] = delays;
  return {
    ...{
      warmup: warmup!,
      slow: slow!,
      fast: fast!,
      fastPerS,
      lateChanges,
      edgeCpuUs,
      rowsChecked,
      changes: first,
    },
    processes: edges + started.length,
  };
}

interface StartedEdges {
  readonly program: Program<ToEdge>;
  readonly files: readonly string[];
}

async function startEdges(
  servers: BenchServers,
  redisUrl: string,
  { edges, edgesPerProcess }: PropagationOptions,
  probes: number,
): Promise<StartedEdges[]> {
  const started: StartedEdges[] = [];
  const files = Array.from(
    { length: edges },
    (_, index) => join(servers.folder, `edge-${index}`, "replica.sqlite"),
  );
  const groups = Array.from(
    { length: Math.ceil(edges / edgesPerProcess) },
    (_, index) => files.slice(index * edgesPerProcess, (index + 1) * edgesPerProcess),
  );
  for (let at = 0; at < groups.length; at += STARTED_AT_ONCE) {
    await Promise.all(
      groups.slice(at, at + STARTED_AT_ONCE).map(async (files) => {
        for (const file of files) mkdirSync(join(file, ".."), { recursive: true });
        const program = startProgram<ToEdge>("bench-edge.ts", { type: "stop" });
        servers.onClose(() => program.stop());
        started.push({ program, files });
        await program.ask({ type: "open", redisUrl, replicaFiles: files, probes });
      }),
    );
  }
  return started;
}

function cpuMsOf(started: readonly StartedEdges[]): number {
  return started.reduce((sum, { program }) => sum + usageOf(program.pid).cpuMs, 0);
}

/** Every edge of every program has that many. */
export async function untilRouted(programs: readonly Program<ToEdge>[], probes: number): Promise<void> {
  const endMs = performance.now() + SETTLE_MS_MAX;
  for (const program of programs) {
    for (;;) {
      const answer = await program.ask({ type: "count" });
      if (answer.type !== "counts" || answer.counts.every((count) => count >= probes)) break;
      if (performance.now() > endMs) {
        throw new GodwitError(
          "bench.not_routed",
          `An edge has routed ${answer.counts} of ${probes} changes`,
          {
            fault: "us",
          },
        );
      }
      await Bun.sleep(LOOK_INTERVAL_MS);
    }
  }
}

function doublesOf(file: string): Float64Array {
  const bytes = readFileSync(file);
  return new Float64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
}

/** What was committed has been published: all of it, and nothing else. */
async function compareWithPostgres(url: string, names: Iterable<string>): Promise<void> {
  const published = new Set(
    Array.from(names).filter((name) => name.startsWith("hostnames ")).map((name) => name.slice(10)),
  );
  const sql = new SQL(url, { max: 1 });
  const rows = await sql`SELECT hostname FROM hostnames`;
  await sql.close();
  const missing = rows.filter(({ hostname }: { hostname: string }) => !published.has(hostname)).length;
  if (missing === 0 && rows.length === published.size) return;
  throw new GodwitError("bench.replica_differs", `${missing} of ${rows.length} rows were not published`, {
    fault: "us",
  });
}
