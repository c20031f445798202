/**
 * What a storm of rows costs the requests: an edge with rows from Redis under wrk, in alternating rounds with a publisher
 * that is there in both and publishes nothing in one.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { assert } from "../../../control/contract/errors.ts";
import { freePort, startServer } from "../../servers/child.ts";
import { startBackend } from "../relay/backend.ts";
import { runWrk } from "../relay/load.ts";
import { APP_HOST } from "../relay/proxy.ts";
import { ownCpuMsOf, usageOf } from "../relay/process-usage.ts";
import { alternate, median, ratioOf } from "../rounds.ts";
import { REGION } from "../table-rows.ts";
import { edgeProgram } from "../relay/godwit-proxy.ts";
import { startProgram } from "./program.ts";
import type { BenchServers } from "./servers.ts";
import type { ToStorm } from "./storm-source.ts";

export const STORM_ROWS_PER_S = 10_000;
/** Each row of a second is another host's. */
const HOSTS = 10_000;
const CONNECTIONS = 64;
/** A storm has reached the relay, or the last of one has been worked off. */
const SETTLE_MS = 1_500;

export interface StormOptions {
  readonly rounds: number;
  readonly seconds: number;
}

export interface Storm {
  /** Requests a second in the storm over those in the quiet. */
  readonly ratio: number;
  readonly quietRequestsPerS: number;
  readonly stormRequestsPerS: number;
  readonly quietP99Ms: number;
  readonly stormP99Ms: number;
  /** Rows that the edge's replica took in while it stormed. */
  readonly rowsPerS: number;
  readonly failures: number;
  /** Processors that Redis, the publisher and the replicator used in the storm, and how many there are. */
  readonly besideCores: number;
  readonly cores: number;
  /** Of one processor: what the relay used in the storm beyond what its requests cost in the quiet. */
  readonly relayRowsShare: number;
  /** The ratio if the relay spent nothing on rows and every request cost what it does in the quiet. */
  readonly possibleRatio: number;
}

interface CpuMs {
  readonly relay: number;
  /** Redis, publisher and replicator. */
  readonly beside: number;
}

/** One round's. */
interface RoundCpu {
  readonly relayUsPerRequest: number;
  readonly requestsPerS: number;
  readonly relayCores: number;
  readonly besideCores: number;
}

export async function measureStorm(
  servers: BenchServers,
  { rounds, seconds }: StormOptions,
  say: (line: string) => void,
): Promise<Storm> {
  const folder = join(servers.folder, "storm");
  mkdirSync(folder);
  const redis = await servers.startRedis();
  const backend = await startBackend(folder, []);
  servers.onClose(() => backend.stop());
  const [port, adminPort] = [await freePort(), await freePort()];
  const source = startProgram<ToStorm>("storm-source.ts", { type: "stop" });
  servers.onClose(() => source.stop());
  await source.ask({
    ...{ type: "open", redisUrl: redis.server.urlOf("admin"), hosts: HOSTS },
    ...{ backendPort: backend.httpPort, servicePort: port },
  });
  const url = `http://127.0.0.1:${port}/small`;
  const edge = await startServer({
    name: "the edge",
    argv: [
      process.execPath,
      edgeProgram,
      "--config",
      writeConfig(folder, port, adminPort, redis.server.urlOf("edge")),
    ],
    logFile: join(folder, "edge.log"),
    ready: () => fetch(url, { headers: { host: APP_HOST } }).then((r) => r.ok, () => false),
  });
  servers.onClose(() => edge.stop());

  const cpuMs = (): CpuMs => {
    const relay = ownCpuMsOf(edge.pid);
    const replicator = usageOf(edge.pid).cpuMs - relay;
    return { relay, beside: replicator + ownCpuMsOf(redis.pid) + ownCpuMsOf(source.pid) };
  };
  const roundsCpu: Record<"quiet" | "storm", RoundCpu[]> = { quiet: [], storm: [] };
  const p99Ms: Record<string, number[]> = { quiet: [], storm: [] };
  const appliedPerS: number[] = [];
  let failures = 0;
  const contender = (name: "quiet" | "storm", rowsPerS: number) => ({
    name,
    async run() {
      await source.ask({ type: "rate", rowsPerS });
      await Bun.sleep(SETTLE_MS);
      const before = await eventsApplied(adminPort);
      const cpuBefore = cpuMs();
      const startedMs = performance.now();
      const load = await runWrk([], { url, host: APP_HOST, connections: CONNECTIONS, seconds });
      roundsCpu[name].push(roundCpu(cpuBefore, cpuMs(), load.requests, performance.now() - startedMs));
      const applied = await eventsApplied(adminPort) - before;
      if (rowsPerS > 0) appliedPerS.push(applied / ((performance.now() - startedMs) / 1_000));
      await source.ask({ type: "rate", rowsPerS: 0 });
      failures += load.failures;
      p99Ms[name]!.push((load.p99Us ?? NaN) / 1_000);
      return load.requests / load.seconds;
    },
  });
  const figures = await alternate(
    rounds,
    [contender("quiet", 0), contender("storm", STORM_ROWS_PER_S)],
    (round, name, figure) =>
      say(
        `round ${round + 1}  ${name.padEnd(6)} ${Math.round(figure)} requests/s  p99 ${
          p99Ms[name]!.at(-1)
        } ms`,
      ),
  );
  const [quiet, storm] = [figures.get("quiet")!, figures.get("storm")!];
  const middle = (name: "quiet" | "storm", figure: keyof RoundCpu) =>
    median(roundsCpu[name].map((round) => round[figure]));
  const cores = availableParallelism();
  const besideCores = middle("storm", "besideCores");
  assert(failures === 0, `${failures} requests failed beside the storm`);
  return {
    ratio: ratioOf(storm, quiet),
    quietRequestsPerS: Math.round(median(quiet)),
    stormRequestsPerS: Math.round(median(storm)),
    quietP99Ms: median(p99Ms.quiet!),
    stormP99Ms: median(p99Ms.storm!),
    rowsPerS: Math.round(median(appliedPerS)),
    failures,
    ...{ besideCores, cores },
    relayRowsShare: middle("storm", "relayCores") -
      middle("storm", "requestsPerS") * middle("quiet", "relayUsPerRequest") / 1e6,
    possibleRatio: (cores - besideCores) / (cores - middle("quiet", "besideCores")),
  };
}

function roundCpu(before: CpuMs, after: CpuMs, requests: number, tookMs: number): RoundCpu {
  const relayMs = after.relay - before.relay;
  return {
    relayUsPerRequest: relayMs * 1_000 / requests,
    requestsPerS: requests * 1_000 / tookMs,
    relayCores: relayMs / tookMs,
    besideCores: (after.beside - before.beside) / tookMs,
  };
}

function writeConfig(folder: string, port: number, adminPort: number, redisUrl: string): string {
  const file = join(folder, "edge.json");
  const config = {
    ...{ schema: 1, edge_id: "bench", region: REGION, regions: [], access_log: join(folder, "access.log") },
    listeners: [{ address: "127.0.0.1", port, service_port: port }],
    admin: { address: "127.0.0.1", port: adminPort },
    rows: { from: "redis", redis_url: redisUrl, replica_file: join(folder, "replica.sqlite") },
  };
  writeFileSync(file, JSON.stringify(config), { mode: 0o600 });
  return file;
}

/** As of the replicator's last heartbeat, a second ago at most. */
async function eventsApplied(adminPort: number): Promise<number> {
  const response = await fetch(`http://127.0.0.1:${adminPort}/replica`, { keepalive: false });
  return Number((await response.json() as { events_applied?: number }).events_applied ?? 0);
}
