/** Workers as they made themselves known. A host is ready while it keeps doing so. */
import { HostRegistration, type HostView, REGISTRATION_INTERVAL_MS } from "../contract/worker-api.ts";
import { json, type Sql } from "./database.ts";

/** A host that missed three registrations gets no new machines. */
export const HOST_READY_MS = REGISTRATION_INTERVAL_MS * 4;
export const HOSTS_MAX = 1_000;

export interface Host {
  readonly id: string;
  readonly region: string;
  readonly url: string;
  readonly view: HostView;
  readonly seenAt: Date;
}

export async function registerHost(sql: Sql, registration: HostRegistration): Promise<void> {
  const { host, url } = registration;
  await sql`INSERT INTO hosts (id, region, url, view) VALUES (${host.id}, ${host.region}, ${url},
      ${json(host)}::text::jsonb)
    ON CONFLICT (id) DO UPDATE SET region = excluded.region, url = excluded.url, view = excluded.view, seen_at = now()`;
}

export async function hostById(sql: Sql, id: string): Promise<Host | null> {
  const [row] = await sql`SELECT * FROM hosts WHERE id = ${id}`;
  return row === undefined ? null : fromRow(row);
}

export async function hostsReady(sql: Sql): Promise<Host[]> {
  const rows =
    await sql`SELECT * FROM hosts WHERE seen_at > now() - ${HOST_READY_MS} * interval '1 millisecond'
    ORDER BY id LIMIT ${HOSTS_MAX}`;
  return rows.map(fromRow);
}

// deno-lint-ignore no-explicit-any -- a row as the driver gives it
function fromRow(row: any): Host {
  return { id: row.id, region: row.region, url: row.url, view: row.view, seenAt: row.seen_at };
}
