/**
 * Puts the present routing projection of a row into the outbox, in the transaction that changed the row. The row is read
 * again under the key's lock rather than passed in, so that the event with the highest version of a key always shows
 * the newest committed row, whatever runs beside it. A row that is gone becomes a tombstone.
 *
 * Only what rows.ts has a schema for is read here: env, commands and tokens cannot be published by this way.
 */
import { assert } from "../contract/errors.ts";
import { EVENT_BYTES_MAX, EVENT_SCHEMA, StateEvent } from "../contract/events.ts";
import { AppRow, HostnameRow, PublisherRow } from "../contract/rows.ts";
import { appById } from "../store/apps.ts";
import type { Sql } from "../store/database.ts";
import { appIdOfHostname } from "../store/hostnames.ts";
import { publisherKeyOf } from "../store/hosts.ts";
import { organizationById } from "../store/organizations.ts";
import { insertEvent, lockKey, nextVersion } from "../store/outbox.ts";

/** The owner of the global tables (`ownerMayWrite`). */
export const OWNER = "api";

export async function announceApp(tx: Sql, appId: string): Promise<void> {
  await announce(tx, "apps", appId, async () => {
    const app = await appById(tx, appId);
    // An app that is being deleted is routed no more, though its row stays until its machines are gone.
    if (app === null || app.deletingAt !== null) return null;
    const organization = await organizationById(tx, app.orgId);
    assert(organization !== null, `app ${app.id} has no organisation`);
    return AppRow.parse({
      id: app.id,
      name: app.name,
      org_id: app.orgId,
      org_slug: organization.slug,
      services: app.services ?? [],
    });
  });
}

export async function announceHostname(tx: Sql, hostname: string): Promise<void> {
  await announce(tx, "hostnames", hostname, async () => {
    const appId = await appIdOfHostname(tx, hostname);
    return appId === null ? null : HostnameRow.parse({ hostname, app_id: appId });
  });
}

/** Whose signatures replicas accept for this host's rows. */
export async function announcePublisher(tx: Sql, hostId: string): Promise<void> {
  const owner = `worker:${hostId}`;
  await announce(tx, "publishers", owner, async () => {
    const key = await publisherKeyOf(tx, hostId);
    return key === null ? null : PublisherRow.parse({ owner, public_key: key });
  });
}

async function announce(
  tx: Sql,
  table: "apps" | "hostnames" | "publishers",
  key: string,
  project: () => Promise<AppRow | HostnameRow | PublisherRow | null>,
): Promise<void> {
  await lockKey(tx, table, key);
  const row = await project();
  const event = StateEvent.parse({
    schema: EVENT_SCHEMA,
    owner: OWNER,
    table,
    key,
    version: await nextVersion(tx),
    deleted: row === null,
    row,
    published_ms: Date.now(),
  });
  // What cannot be appended must fail the change here: in the outbox it would block all that comes after it.
  assert(Buffer.byteLength(JSON.stringify(event)) <= EVENT_BYTES_MAX, `event ${table} ${key} is oversize`);
  await insertEvent(tx, event);
}
