/** One replicator alone: how fast it applies what a stream holds, begins from nothing, and makes up for what it missed. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { assert } from "../../../control/contract/errors.ts";
import type { MachineRow } from "../../../control/contract/rows.ts";
import { buildSnapshot } from "../../../edge/snapshot/build.ts";
import { loadRuntime } from "../../../edge/runtime/runtime.ts";
import { freePort } from "../../servers/child.ts";
import { seededRandom } from "../seeded-random.ts";
import { planOf, type Row, tableRows } from "../table-rows.ts";
import { type LoneRun, runLoneReplica, startLoneReplica } from "./lone-replica.ts";
import type { BenchRedis, BenchServers } from "./servers.ts";
import { StateStream } from "./state-stream.ts";

/** Changes that a fleet makes in an hour, at the rate that propagation is promised for. */
const HOUR_CHANGES = 100 * 3_600;
/** What has changed since the newest of many edges' snapshots, each of which makes one in an hour, or one edge's after much. */
const TAIL_CHANGES = 100 * 600;
const APPLIED_MACHINES = 250_000;

export interface ApplyOptions {
  readonly machines: number;
  /** A part of an hour, for a quick try. */
  readonly missedChanges: number | null;
}

export interface ApplyRate {
  readonly rowsPerS: number;
  /** From another replica's snapshot and what the streams have since. */
  readonly bootstrap: LoneRun;
  readonly tailChanges: number;
  readonly snapshotMb: number;
  /** From the beginning of the streams, for want of a snapshot. */
  readonly bootstrapStream: LoneRun;
  readonly catchUp: LoneRun;
  readonly missedChanges: number;
}

export async function measureApplyRate(
  servers: BenchServers,
  options: ApplyOptions,
  say: (line: string) => void,
): Promise<ApplyRate> {
  const folder = join(servers.folder, "alone");
  mkdirSync(folder);
  const rate = await applied(servers, folder, Math.min(APPLIED_MACHINES, options.machines));
  const rowsPerS = Math.round(rate.rows / rate.seconds);
  say(`${rate.rows} rows applied in ${rate.seconds.toFixed(1)} s, its start included: ${rowsPerS} rows/s`);

  const redis = await servers.startRedis();
  const stream = new StateStream(redis.client);
  await stream.append(tableRows(planOf(options.machines)));
  const file = join(folder, "bootstrap.sqlite");
  const bootstrapStream = await runLoneReplica(redis, file);
  say(
    `${bootstrapStream.rows} rows (${options.machines} machines) from the streams in ` +
      `${bootstrapStream.seconds.toFixed(1)} s, ${bootstrapStream.peakMemoryMb} MB at most`,
  );
  const missedChanges = options.missedChanges ?? HOUR_CHANGES;
  const tailChanges = Math.min(TAIL_CHANGES, missedChanges);
  const { bootstrap, snapshotMb } = await bootstrapped(
    servers,
    redis,
    file,
    () => stream.append(changedMachines(options.machines, tailChanges), 1),
  );
  say(
    `${bootstrap.rows} rows from a snapshot of ${snapshotMb} MB and ${tailChanges} changes since in ` +
      `${bootstrap.seconds.toFixed(1)} s, ${bootstrap.peakMemoryMb} MB at most`,
  );
  // As they were published, one by one while nobody was in a hurry: an entry for each.
  await stream.append(changedMachines(options.machines, missedChanges), 1);
  const catchUp = await runLoneReplica(redis, file);
  say(`${missedChanges} missed changes made up for in ${catchUp.seconds.toFixed(1)} s`);
  await redis.stop();
  return { rowsPerS, bootstrap, tailChanges, snapshotMb, bootstrapStream, catchUp, missedChanges };
}

/** A new replica, where the one at `file` serves a snapshot that is older than the newest changes. */
async function bootstrapped(
  servers: BenchServers,
  redis: BenchRedis,
  file: string,
  change: () => Promise<unknown>,
): Promise<{ bootstrap: LoneRun; snapshotMb: number }> {
  const { openDatabase } = await loadRuntime();
  const manifest = await buildSnapshot({ replicaFile: file, openDatabase, wallMs: () => Date.now() });
  assert(manifest !== null, "there is a snapshot already");
  await change();
  const place = `127.0.0.1:${await freePort()}`;
  const serving = await startLoneReplica(redis, file, ["--snapshots-listen", place]);
  servers.onClose(() => serving.stop());
  const bootstrap = await runLoneReplica(redis, join(servers.folder, "alone", "new.sqlite"), [
    ...["--snapshots-from", `http://${place}`],
  ]);
  await serving.stop();
  assert(bootstrap.snapshotFrom !== null, "the new replica did not begin with the snapshot");
  return { bootstrap, snapshotMb: Math.round(manifest.bytes / 1_048_576) };
}

async function applied(servers: BenchServers, folder: string, machines: number): Promise<LoneRun> {
  const redis = await servers.startRedis();
  await new StateStream(redis.client).append(tableRows(planOf(machines)));
  const run = await runLoneReplica(redis, join(folder, "applied.sqlite"));
  await redis.stop();
  return run;
}

/** Machines that stop or start, drawn among all. */
function* changedMachines(machines: number, count: number): Generator<Row> {
  const random = seededRandom(1);
  const chosen = new Set<number>();
  while (chosen.size < Math.min(count, machines / 2)) chosen.add(Math.floor(random() * machines));
  const rows: Row[] = [];
  let machine = 0;
  for (const row of tableRows(planOf(machines))) {
    if (row.table === "machines" && chosen.has(machine++)) rows.push(row);
  }
  for (let i = 0; i < count; i++) {
    const { table, key, row } = rows[i % rows.length]!;
    yield { table, key, row: { ...row as MachineRow, started_at_ms: 2 + i } };
  }
}
