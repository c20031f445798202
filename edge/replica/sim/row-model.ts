/** Rows as the owners of this world make them: few keys, so that they are changed, deleted and made again often. */
import type { RowOf, TableName } from "../../../control/contract/rows.ts";
import type { Chance } from "./chance.ts";

export const API_KEYS_MAX = 24;
export const MACHINES_MAX = 12;

export interface RowPlace {
  readonly table: TableName;
  readonly key: string;
}

/** A key that the owner may write, live or not. */
export function pickPlace(owner: string, chance: Chance): RowPlace {
  if (owner === "api") {
    const n = chance.between(1, API_KEYS_MAX);
    return chance.happens(0.5)
      ? { table: "apps", key: appId(n) }
      : { table: "hostnames", key: `app-${n}.example.test` };
  }
  const host = owner.slice("worker:".length);
  if (chance.happens(0.15)) return { table: "hosts", key: host };
  return { table: "machines", key: `${host}/${machineId(chance.between(1, MACHINES_MAX))}` };
}

/** @param region of a worker's rows */
export function makeRow({ table, key }: RowPlace, region: string, chance: Chance): RowOf<TableName> {
  switch (table) {
    case "hostnames":
      return { hostname: key, app_id: appId(chance.between(1, API_KEYS_MAX)) };
    case "apps":
      return {
        id: key,
        name: `app-${chance.between(1, 999)}`,
        org_id: appId(0),
        org_slug: "personal",
        services: [],
      };
    case "hosts":
      return {
        id: key,
        region,
        state: chance.pick(["ready", "cordoned"] as const),
        cpus: chance.between(1, 64),
        memory_mb: 1_024,
      };
    default:
      return {
        id: key.slice(key.indexOf("/") + 1),
        app_id: appId(chance.between(1, API_KEYS_MAX)),
        host_id: key.slice(0, key.indexOf("/")),
        region,
        release_id: appId(chance.between(1, 99)),
        state: chance.pick(["started", "stopped", "suspended"] as const),
        cordoned: chance.happens(0.1),
        address4: "127.0.0.1",
        address6: null,
        services: [],
        started_at_ms: null,
      };
  }
}

function appId(n: number): string {
  return n.toString(16).padStart(20, "a");
}
function machineId(n: number): string {
  return n.toString(16).padStart(14, "0");
}
