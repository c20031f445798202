/** The placement ledger. A line is written before a worker is asked for the machine, and closed once it is gone. */
import type { Sql } from "./database.ts";
import type { Page } from "./page.ts";

export interface MachineLine {
  readonly id: string;
  readonly appId: string;
  readonly releaseId: string;
  readonly hostId: string;
  readonly region: string;
  readonly createdAt: Date;
  readonly destroyWantedAt: Date | null;
  readonly destroyedAt: Date | null;
}

export async function insertMachine(
  sql: Sql,
  line: Pick<MachineLine, "id" | "appId" | "releaseId" | "hostId" | "region">,
): Promise<void> {
  await sql`INSERT INTO machines (id, app_id, release_id, host_id, region)
    VALUES (${line.id}, ${line.appId}, ${line.releaseId}, ${line.hostId}, ${line.region})`;
}

export async function machineById(sql: Sql, id: string): Promise<MachineLine | null> {
  const [row] = await sql`SELECT * FROM machines WHERE id = ${id}`;
  return row === undefined ? null : fromRow(row);
}

/** Machines that are not known to be destroyed. */
export async function livingMachinesOfApp(sql: Sql, appId: string): Promise<MachineLine[]> {
  const rows = await sql`SELECT * FROM machines WHERE app_id = ${appId} AND destroyed_at IS NULL ORDER BY id`;
  return rows.map(fromRow);
}

export async function livingMachinesOfRelease(sql: Sql, releaseId: string): Promise<MachineLine[]> {
  const rows =
    await sql`SELECT * FROM machines WHERE release_id = ${releaseId} AND destroyed_at IS NULL ORDER BY id`;
  return rows.map(fromRow);
}

export async function pageOfMachines(sql: Sql, appId: string, page: Page): Promise<MachineLine[]> {
  const rows = await sql`SELECT * FROM machines WHERE app_id = ${appId} AND destroyed_at IS NULL
    AND (${page.after}::text IS NULL OR id > ${page.after}) AND (${page.before}::text IS NULL OR id < ${page.before})
    ORDER BY CASE WHEN ${page.inverted} THEN id END DESC, id LIMIT ${page.limit}`;
  return rows.map(fromRow);
}

export async function wantDestroyed(sql: Sql, ids: readonly string[]): Promise<void> {
  await sql`UPDATE machines SET destroy_wanted_at = coalesce(destroy_wanted_at, now())
    WHERE id = ANY(${sql.array([...ids], "TEXT")})`;
}

export async function markDestroyed(sql: Sql, id: string): Promise<void> {
  await sql`UPDATE machines SET destroyed_at = coalesce(destroyed_at, now()) WHERE id = ${id}`;
}

/**
 * Wishes that nobody works on: not those of apps with an unfinished release, whose deploy drains or undoes, nor of apps
 * being deleted. In random order, so that machines of a host that is away do not keep the others waiting.
 */
export async function machinesToDestroy(sql: Sql, limit: number): Promise<MachineLine[]> {
  const rows = await sql`SELECT machines.* FROM machines JOIN apps ON apps.id = machines.app_id
    WHERE destroy_wanted_at IS NOT NULL AND destroyed_at IS NULL AND apps.deleting_at IS NULL
      AND NOT EXISTS (SELECT 1 FROM releases WHERE releases.app_id = machines.app_id
        AND releases.status IN ('pending', 'running'))
    ORDER BY random() LIMIT ${limit}`;
  return rows.map(fromRow);
}

// deno-lint-ignore no-explicit-any -- a row as the driver gives it
function fromRow(row: any): MachineLine {
  return {
    id: row.id,
    appId: row.app_id,
    releaseId: row.release_id,
    hostId: row.host_id,
    region: row.region,
    createdAt: row.created_at,
    destroyWantedAt: row.destroy_wanted_at,
    destroyedAt: row.destroyed_at,
  };
}
