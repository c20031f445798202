/** Workers as they made themselves known. A host is ready while it keeps doing so. */
import { GodwitError } from "../contract/errors.ts";
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

/**
 * A host keeps the key that it signs with: who has the node token alone cannot speak for a host that is known.
 *
 * @returns whether its key is new, and must be announced in the same transaction
 * @throws GodwitError `host.publisher_key_changed`
 */
export async function registerHost(tx: Sql, registration: HostRegistration): Promise<boolean> {
  const { host, url, publisher_key: key } = registration;
  await tx`INSERT INTO hosts (id, region, url, view) VALUES (${host.id}, ${host.region}, ${url},
      ${json(host)}::text::jsonb)
    ON CONFLICT (id) DO UPDATE SET region = excluded.region, url = excluded.url, view = excluded.view, seen_at = now()`;
  // An agent of a version that signs nothing names no key; the one that is known stays.
  if (key === undefined) return false;
  const known = await publisherKeyOf(tx, host.id);
  if (known === key) return false;
  if (known !== null) {
    throw new GodwitError(
      "host.publisher_key_changed",
      `Cannot register host ${host.id}: it signs with another key than the one that it is known by`,
      {
        fault: "client",
        hint:
          "Give the host its publisher-key.pem back. Where that is lost, an operator forgets the known key: " +
          `UPDATE hosts SET publisher_key = NULL WHERE id = '${host.id}'`,
      },
    );
  }
  await tx`UPDATE hosts SET publisher_key = ${key} WHERE id = ${host.id}`;
  return true;
}

export async function publisherKeyOf(sql: Sql, id: string): Promise<string | null> {
  const [row] = await sql`SELECT publisher_key FROM hosts WHERE id = ${id}`;
  return row?.publisher_key ?? null;
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
