import type { WireError } from "../contract/errors.ts";
import type { Guest, MachineSettings, Service } from "../contract/machine.ts";
import { json, type Sql } from "./database.ts";
import type { Page } from "./page.ts";

export type ReleaseStatus = "pending" | "running" | "succeeded" | "failed";
/** What of a deploy is durable. See control/release/deploy.ts. */
export type ReleaseStep = "accepted" | "placed" | "published" | "undoing" | "finished";

/** Later messages of a release are dropped. */
export const PROGRESS_MESSAGES_MAX = 100;
export const PROGRESS_MESSAGE_CHARS_MAX = 500;

export interface Release {
  readonly id: string;
  readonly appId: string;
  readonly version: number;
  readonly status: ReleaseStatus;
  readonly step: ReleaseStep;
  readonly imageRef: string;
  readonly imageDigest: string | null;
  readonly guest: Guest;
  readonly env: Record<string, string>;
  readonly services: Service[];
  readonly entrypoint: string[] | null;
  readonly command: string[] | null;
  readonly machine: Partial<MachineSettings>;
  readonly waitTimeoutS: number;
  readonly machineCount: number;
  readonly progress: { at: string; message: string }[];
  readonly error: WireError | null;
  readonly createdAt: Date;
  readonly finishedAt: Date | null;
}

export type NewRelease = Pick<
  Release,
  | "id"
  | "appId"
  | "imageRef"
  | "guest"
  | "env"
  | "services"
  | "entrypoint"
  | "command"
  | "machine"
  | "waitTimeoutS"
>;

/**
 * Takes the app's next version number and its present count of machines (at least one). The caller holds the app's row
 * (`lockApp`). Null where another release of the app is unfinished.
 */
export async function insertRelease(tx: Sql, release: NewRelease): Promise<Release | null> {
  const [row] = await tx`INSERT INTO releases (id, app_id, version, status, image_ref, guest, env, services,
      entrypoint, command, machine, wait_timeout_s, machine_count)
    VALUES (${release.id}, ${release.appId},
      (SELECT coalesce(max(version), 0) + 1 FROM releases WHERE app_id = ${release.appId}), 'pending',
      ${release.imageRef}, ${json(release.guest)}::text::jsonb, ${json(release.env)}::text::jsonb,
      ${json(release.services)}::text::jsonb, ${json(release.entrypoint)}::text::jsonb,
      ${json(release.command)}::text::jsonb, ${json(release.machine)}::text::jsonb, ${release.waitTimeoutS},
      (SELECT greatest(1, count(*)) FROM machines
        WHERE app_id = ${release.appId} AND destroyed_at IS NULL AND destroy_wanted_at IS NULL))
    ON CONFLICT DO NOTHING RETURNING *`;
  return row === undefined ? null : fromRow(row);
}

export async function releaseById(sql: Sql, id: string): Promise<Release | null> {
  const [row] = await sql`SELECT * FROM releases WHERE id = ${id}`;
  return row === undefined ? null : fromRow(row);
}

/** Newest first; the cursor is the version. */
export async function pageOfReleases(sql: Sql, appId: string, page: Page): Promise<Release[]> {
  const rows = await sql`SELECT * FROM releases WHERE app_id = ${appId}
    AND (${page.after}::text IS NULL OR version < ${page.after}::text::integer)
    AND (${page.before}::text IS NULL OR version > ${page.before}::text::integer)
    ORDER BY CASE WHEN ${page.inverted} THEN version END, version DESC LIMIT ${page.limit}`;
  return rows.map(fromRow);
}

export async function releasesUnfinished(sql: Sql, limit: number): Promise<string[]> {
  const rows = await sql`SELECT id FROM releases WHERE status IN ('pending', 'running')
    ORDER BY created_at LIMIT ${limit}`;
  return rows.map((row: { id: string }) => row.id);
}

/** Takes an unfinished release over; whoever had it before can record nothing more. */
export async function claimRelease(
  sql: Sql,
  id: string,
): Promise<{ release: Release; claim: string } | null> {
  const [row] = await sql`UPDATE releases SET claim = nextval('release_claims'), status = 'running'
    WHERE id = ${id} AND status IN ('pending', 'running') RETURNING *`;
  return row === undefined ? null : { release: fromRow(row), claim: String(row.claim) };
}

/** The fields of a step, as they become durable. */
export interface ReleaseChange {
  readonly status?: ReleaseStatus;
  readonly step?: ReleaseStep;
  readonly imageDigest?: string;
  readonly error?: WireError;
}

/** False where the claim is lost: another runner has the release. */
export async function recordStep(
  sql: Sql,
  id: string,
  claim: string,
  change: ReleaseChange,
): Promise<boolean> {
  const finished = change.status === "succeeded" || change.status === "failed";
  const rows = await sql`UPDATE releases SET
      status = coalesce(${change.status ?? null}::text, status),
      step = coalesce(${change.step ?? null}::text, step),
      image_digest = coalesce(${change.imageDigest ?? null}::text, image_digest),
      error = coalesce(${json(change.error)}::text::jsonb, error),
      finished_at = CASE WHEN ${finished} THEN now() ELSE finished_at END
    WHERE id = ${id} AND claim = ${claim}::text::bigint RETURNING id`;
  return rows.length === 1;
}

/** Kept up to PROGRESS_MESSAGES_MAX messages; one that a resumed deploy says again is kept once. */
export async function appendProgress(sql: Sql, id: string, message: string, at: Date): Promise<void> {
  const entry = { at: at.toISOString(), message: message.slice(0, PROGRESS_MESSAGE_CHARS_MAX) };
  await sql`UPDATE releases SET progress = progress || ${json([entry])}::text::jsonb
    WHERE id = ${id} AND jsonb_array_length(progress) < ${PROGRESS_MESSAGES_MAX}
      AND coalesce(progress -> -1 ->> 'message', '') <> ${entry.message}::text`;
}

// deno-lint-ignore no-explicit-any -- a row as the driver gives it
function fromRow(row: any): Release {
  return {
    id: row.id,
    appId: row.app_id,
    version: row.version,
    status: row.status,
    step: row.step,
    imageRef: row.image_ref,
    imageDigest: row.image_digest,
    guest: row.guest,
    env: row.env,
    services: row.services,
    entrypoint: row.entrypoint,
    command: row.command,
    machine: row.machine,
    waitTimeoutS: row.wait_timeout_s,
    machineCount: row.machine_count,
    progress: row.progress,
    error: row.error,
    createdAt: row.created_at,
    finishedAt: row.finished_at,
  };
}
