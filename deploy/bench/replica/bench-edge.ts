/**
 * One edge, or several in one process, without their listeners: for each a replicator's process of its own, its file, and
 * a real route table that its news go into, as `edge/rows/replicated-rows.ts` does in an edge. It notes when each probe
 * can be found in the table.
 */
import { writeFileSync } from "node:fs";
import { pino } from "pino";
import { RouteTable } from "../../../edge/routes/route-table.ts";
import { ReplicatedRows } from "../../../edge/rows/replicated-rows.ts";
import { loadRuntime } from "../../../edge/runtime/runtime.ts";
import { forkReplicator } from "../../../edge/workers/child-process.ts";
import { REGION } from "../table-rows.ts";
import { type Answer, probeIndex, sharedNowMs, type ToEdge } from "./probe.ts";
import { answerMessages } from "./program.ts";

interface BenchEdge {
  readonly rows: ReplicatedRows;
  readonly routedMs: Float64Array;
  routed: number;
}

const log = pino({ level: "error" }, pino.destination({ dest: 2, sync: true }));
const edges: BenchEdge[] = [];

answerMessages<ToEdge>(async (message): Promise<Answer | void> => {
  switch (message.type) {
    case "open":
      for (const file of message.replicaFiles) edges.push(await open(file, message));
      for (const { rows } of edges) await rows.start();
      return;
    case "count":
      return { type: "counts", counts: edges.map(({ routed }) => routed) };
    case "report":
      return message.files.forEach((file, index) => writeFileSync(file, edges[index]!.routedMs));
    case "stop":
      await Promise.all(edges.map(({ rows }) => rows.stop()));
  }
});

async function open(
  replica_file: string,
  { redisUrl, probes, apiPublicKey }: ToEdge & { type: "open" },
): Promise<BenchEdge> {
  const settings = {
    ...{ from: "redis" as const, redis_url: redisUrl, replica_file },
    ...(apiPublicKey === undefined ? {} : { api_public_key: apiPublicKey }),
  };
  const { openDatabase } = await loadRuntime();
  const nowMs = () => performance.now();
  const table = new RouteTable({ region: REGION, nowMs, wallMs: () => Date.now() });
  const rows = new ReplicatedRows({
    fork: forkReplicator,
    settings: { rows: settings, regions: [], logLevel: "error" },
    ...{ openDatabase, log, nowMs, random: Math.random },
    heldKeys: (name) => table.keys(name),
    onChanges(changes) {
      table.apply(changes);
      const now = sharedNowMs();
      for (const { table: name, key, row } of changes) {
        if (name !== "hostnames" || row === null) continue;
        const index = probeIndex(key);
        if (index === null || !Number.isNaN(edge.routedMs[index]) || table.find(key) === null) continue;
        edge.routedMs[index] = now;
        edge.routed++;
      }
    },
  });
  const edge: BenchEdge = { rows, routedMs: new Float64Array(probes).fill(NaN), routed: 0 };
  return edge;
}
