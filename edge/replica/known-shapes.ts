/**
 * The shapes that nearly every event has, recognised without zod, which takes three quarters of the time of applying a
 * machine's row. Whatever is not exactly so is left to zod: this says yes or does not know. known-shapes.test.ts holds the
 * two together.
 */
import { EVENT_SCHEMA, type StateEvent } from "../../control/contract/events.ts";
import { MachineState, Services } from "../../control/contract/machine.ts";
import type { HostnameRow, MachineRow } from "../../control/contract/rows.ts";

/** Machines of one app have the same services. */
const SERVICES_REMEMBERED_MAX = 2_000;
const SERVICES_CHARS_MAX = 2_000;

// As names.ts has them.
const ID = /^[0-9a-f]{14}$/,
  ROW_ID = /^[0-9a-f]{20}$/,
  HOST_ID = /^[a-z0-9][a-z0-9-]{0,39}$/,
  REGION = /^[a-z]{3}$/,
  HOSTNAME = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/;
const HOSTNAME_CHARS_MAX = 253;
const STATES: ReadonlySet<unknown> = new Set(MachineState.options);
const MACHINE_COLUMNS = 11;

type Loose = Record<string, unknown>;

/** @returns null where it does not know */
export function knownEvent(raw: unknown): StateEvent | null {
  if (typeof raw !== "object" || raw === null) return null;
  const { schema, owner, table, key, version, deleted, row, published_ms } = raw as Loose;
  if (schema !== EVENT_SCHEMA || !isText(owner, 80) || !isText(table, 64) || !isText(key, 300)) return null;
  if (typeof version !== "object" || version === null || typeof deleted !== "boolean") return null;
  const { epoch, seq } = version as Loose;
  if (!isCount(epoch) || !isCount(seq) || !Number.isSafeInteger(published_ms)) return null;
  if (deleted ? row !== null : typeof row !== "object" || row === null || Array.isArray(row)) return null;
  return {
    schema: EVENT_SCHEMA,
    owner,
    table,
    key,
    version: { epoch, seq },
    deleted,
    row: row as Loose | null,
    published_ms: published_ms as number,
  };
}

/** @returns null where it does not know; what has no unknown columns alone is known */
export function knownMachine(row: Loose): MachineRow | null {
  const {
    id,
    app_id,
    host_id,
    region,
    release_id,
    state,
    cordoned,
    address4,
    address6,
    started_at_ms,
    healthy,
  } = row;
  const hasHealth = healthy !== undefined;
  if (Object.keys(row).length !== MACHINE_COLUMNS + (hasHealth ? 1 : 0)) return null;
  if (!matches(id, ID) || !matches(app_id, ROW_ID) || !matches(host_id, HOST_ID)) return null;
  if (!matches(region, REGION) || !matches(release_id, ROW_ID) || !STATES.has(state)) return null;
  if (typeof cordoned !== "boolean" || (hasHealth && typeof healthy !== "boolean")) return null;
  if (!isShortOrNull(address4, 15) || !isShortOrNull(address6, 45)) return null;
  if (started_at_ms !== null && !Number.isSafeInteger(started_at_ms)) return null;
  const services = knownServices(row.services);
  if (services === null) return null;
  const known: MachineRow = {
    id,
    app_id,
    host_id,
    region,
    release_id,
    state: state as MachineRow["state"],
    cordoned,
    address4,
    address6,
    services,
    started_at_ms: started_at_ms as number | null,
  };
  if (hasHealth) known.healthy = healthy as boolean;
  return known;
}

/** @returns null where it does not know, as with patterns */
export function knownHostname(row: Loose): HostnameRow | null {
  const { hostname, app_id } = row;
  if (Object.keys(row).length !== 2 || !matches(app_id, ROW_ID)) return null;
  if (!isText(hostname, HOSTNAME_CHARS_MAX) || !HOSTNAME.test(hostname)) return null;
  return { hostname, app_id };
}

/** What was sent → what zod made of it; nothing writes to either. */
const remembered = new Map<string, MachineRow["services"]>();

function knownServices(raw: unknown): MachineRow["services"] | null {
  if (!Array.isArray(raw)) return null;
  const text = JSON.stringify(raw);
  const before = remembered.get(text);
  if (before !== undefined) return before;
  const parsed = Services.safeParse(raw);
  if (!parsed.success) return null;
  if (text.length > SERVICES_CHARS_MAX) return parsed.data;
  if (remembered.size >= SERVICES_REMEMBERED_MAX) remembered.clear();
  remembered.set(text, parsed.data);
  return parsed.data;
}

function isText(value: unknown, lengthMax: number): value is string {
  return typeof value === "string" && value.length > 0 && value.length <= lengthMax;
}
function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
function isShortOrNull(value: unknown, lengthMax: number): value is string | null {
  return value === null || (typeof value === "string" && value.length <= lengthMax);
}
function matches(value: unknown, regex: RegExp): value is string {
  return typeof value === "string" && regex.test(value);
}
