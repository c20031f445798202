/** One replicator alone: how fast it applies what a stream holds, begins from nothing, and makes up for what it missed. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { MachineRow } from "../../../control/contract/rows.ts";
import { seededRandom } from "../seeded-random.ts";
import { planOf, type Row, tableRows } from "../table-rows.ts";
import { type LoneRun, runLoneReplica } from "./lone-replica.ts";
import type { BenchServers } from "./servers.ts";
import { StateStream } from "./state-stream.ts";

/** Changes that a fleet makes in an hour, at the rate that propagation is promised for. */
const HOUR_CHANGES = 100 * 3_600;
const APPLIED_MACHINES = 250_000;

export interface ApplyOptions {
  readonly machines: number;
  /** A part of an hour, for a quick try. */
  readonly missedChanges: number | null;
}

export interface ApplyRate {
  readonly rowsPerS: number;
  readonly bootstrap: LoneRun;
  readonly bootstrapFrom: "stream" | "snapshot";
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
  const bootstrap = await runLoneReplica(redis, file);
  say(
    `${bootstrap.rows} rows (${options.machines} machines) from nothing in ${
      bootstrap.seconds.toFixed(1)
    } s, ` +
      `${bootstrap.peakMemoryMb} MB at most`,
  );
  const missedChanges = options.missedChanges ?? HOUR_CHANGES;
  // As they were published, one by one while nobody was in a hurry: an entry for each.
  await stream.append(changedMachines(options.machines, missedChanges), 1);
  const catchUp = await runLoneReplica(redis, file);
  say(`${missedChanges} missed changes made up for in ${catchUp.seconds.toFixed(1)} s`);
  await redis.stop();
  return { rowsPerS, bootstrap, bootstrapFrom: "stream", catchUp, missedChanges };
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
