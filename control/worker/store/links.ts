/** Small integers that name each machine's link, and the number of each organisation's network on this host. */
import { GodwitError } from "../../contract/errors.ts";
import type { Store } from "./store.ts";

/** An IPv4 /20 holds 2,048 /31 links. */
export const LINK_INDEX_MAX = 2_047;
export const ORG_NETWORK_MAX = 65_535;

/** The machine's link index, allocated where it has none: the smallest free one. */
export function allocateLink(store: Store, machineId: string): number {
  const found = linkOf(store, machineId);
  if (found !== null) return found;
  const free = store.db.query<{ n: number }, []>(
    `SELECT min(n) AS n FROM (
       SELECT 0 AS n WHERE NOT EXISTS (SELECT 1 FROM links WHERE link_index = 0)
       UNION ALL
       SELECT link_index + 1 FROM links AS a
       WHERE NOT EXISTS (SELECT 1 FROM links AS b WHERE b.link_index = a.link_index + 1))`,
  ).get()?.n ?? 0;
  if (free > LINK_INDEX_MAX) {
    throw new GodwitError(
      "worker.no_links",
      `Cannot give machine ${machineId} a link: all ${LINK_INDEX_MAX + 1} are taken`,
      {
        fault: "us",
        retryable: true,
        hint: "destroy machines of this host, or place the machine on another",
      },
    );
  }
  store.db.query("INSERT INTO links (link_index, machine_id) VALUES (?, ?)").run(free, machineId);
  return free;
}

export function linkOf(store: Store, machineId: string): number | null {
  return store.db.query<{ link_index: number }, [string]>("SELECT link_index FROM links WHERE machine_id = ?")
    .get(machineId)?.link_index ?? null;
}

export function freeLink(store: Store, machineId: string): void {
  store.db.query("DELETE FROM links WHERE machine_id = ?").run(machineId);
}

/** Machine ids by link index. */
export function listLinks(store: Store): Map<number, string> {
  const rows = store.db.query<{ link_index: number; machine_id: string }, []>("SELECT * FROM links").all();
  return new Map(rows.map((row) => [row.link_index, row.machine_id]));
}

/** The organisation's network on this host. Never freed: 65,535 organisations on one host are beyond its machines. */
export function orgNetworkOf(store: Store, orgId: string): number {
  const find = store.db.query<{ number: number }, [string]>(
    "SELECT number FROM org_networks WHERE org_id = ?",
  );
  const found = find.get(orgId);
  if (found !== null) return found.number;
  const next =
    (store.db.query<{ n: number | null }, []>("SELECT max(number) AS n FROM org_networks").get()?.n ?? 0) +
    1;
  if (next > ORG_NETWORK_MAX) {
    throw new GodwitError("worker.no_networks", `Cannot give organisation ${orgId} a network: none is left`, {
      fault: "us",
      hint: "place the machine on another host",
    });
  }
  store.db.query("INSERT INTO org_networks (org_id, number) VALUES (?, ?)").run(orgId, next);
  return next;
}
