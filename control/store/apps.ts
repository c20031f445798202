import type { Service } from "../contract/machine.ts";
import { json, type Sql } from "./database.ts";
import type { Page } from "./page.ts";

export interface App {
  readonly id: string;
  readonly orgId: string;
  readonly name: string;
  readonly services: Service[] | null;
  readonly currentReleaseId: string | null;
  readonly createdAt: Date;
  readonly deletingAt: Date | null;
}

/** False where the name is taken, by whomever. */
export async function insertApp(
  sql: Sql,
  app: { id: string; orgId: string; name: string },
): Promise<boolean> {
  const rows = await sql`INSERT INTO apps (id, org_id, name) VALUES (${app.id}, ${app.orgId}, ${app.name})
    ON CONFLICT (name) DO NOTHING RETURNING id`;
  return rows.length === 1;
}

export async function appByName(sql: Sql, name: string): Promise<App | null> {
  const [row] = await sql`SELECT * FROM apps WHERE name = ${name}`;
  return row === undefined ? null : fromRow(row);
}

export async function appById(sql: Sql, id: string): Promise<App | null> {
  const [row] = await sql`SELECT * FROM apps WHERE id = ${id}`;
  return row === undefined ? null : fromRow(row);
}

/** Locks the row until the transaction ends, so that deploys and deletes of one app happen one after the other. */
export async function lockApp(tx: Sql, id: string): Promise<App | null> {
  const [row] = await tx`SELECT * FROM apps WHERE id = ${id} FOR UPDATE`;
  return row === undefined ? null : fromRow(row);
}

export async function pageOfApps(sql: Sql, orgIds: readonly string[], page: Page): Promise<App[]> {
  const rows = await sql`SELECT * FROM apps WHERE org_id = ANY(${sql.array([...orgIds], "TEXT")})
    AND (${page.after}::text IS NULL OR name > ${page.after}) AND (${page.before}::text IS NULL OR name < ${page.before})
    ORDER BY CASE WHEN ${page.inverted} THEN name END DESC, name LIMIT ${page.limit}`;
  return rows.map(fromRow);
}

export async function setCurrentRelease(
  sql: Sql,
  id: string,
  release: { id: string; services: readonly Service[] },
): Promise<void> {
  await sql`UPDATE apps SET current_release_id = ${release.id}, services = ${
    json(release.services)
  }::text::jsonb
    WHERE id = ${id}`;
}

export async function markAppDeleting(sql: Sql, id: string): Promise<void> {
  await sql`UPDATE apps SET deleting_at = coalesce(deleting_at, now()) WHERE id = ${id}`;
}

export async function appsDeleting(sql: Sql, limit: number): Promise<App[]> {
  const rows =
    await sql`SELECT * FROM apps WHERE deleting_at IS NOT NULL ORDER BY deleting_at LIMIT ${limit}`;
  return rows.map(fromRow);
}

/** The app and all that hangs on it. Its machines must be destroyed. */
export async function deleteAppRows(tx: Sql, id: string): Promise<void> {
  await tx`DELETE FROM machines WHERE app_id = ${id}`;
  await tx`DELETE FROM hostnames WHERE app_id = ${id}`;
  await tx`DELETE FROM releases WHERE app_id = ${id}`;
  await tx`DELETE FROM apps WHERE id = ${id}`;
}

// deno-lint-ignore no-explicit-any -- a row as the driver gives it
function fromRow(row: any): App {
  return {
    id: row.id,
    orgId: row.org_id,
    name: row.name,
    services: row.services,
    currentReleaseId: row.current_release_id,
    createdAt: row.created_at,
    deletingAt: row.deleting_at,
  };
}
