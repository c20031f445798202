import type { Sql } from "./database.ts";

/** False where the host name is taken. */
export async function insertHostname(sql: Sql, hostname: string, appId: string): Promise<boolean> {
  const rows = await sql`INSERT INTO hostnames (hostname, app_id) VALUES (${hostname}, ${appId})
    ON CONFLICT (hostname) DO NOTHING RETURNING hostname`;
  return rows.length === 1;
}

export async function appIdOfHostname(sql: Sql, hostname: string): Promise<string | null> {
  const [row] = await sql`SELECT app_id FROM hostnames WHERE hostname = ${hostname}`;
  return row?.app_id ?? null;
}

export async function deleteHostnamesOfApp(sql: Sql, appId: string): Promise<string[]> {
  const rows = await sql`DELETE FROM hostnames WHERE app_id = ${appId} RETURNING hostname`;
  return rows.map((row: { hostname: string }) => row.hostname);
}
