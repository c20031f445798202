/** Rows of machines for tests. */
import type { MachineRow } from "./rows.ts";

type Fields = Pick<MachineRow, "id" | "app_id" | "host_id"> & Partial<MachineRow>;

/**
 * A started machine on this computer that serves port 80 of its app.
 *
 * @param port where it listens
 * @param fields whose it is, and what else a test wants otherwise
 */
export function startedMachine(port: number, fields: Fields): MachineRow {
  return {
    region: "ams",
    release_id: "72656c65617365000000",
    state: "started",
    cordoned: false,
    address4: "127.0.0.1",
    address6: null,
    services: [{
      protocol: "tcp",
      internal_port: port,
      ports: [{ port: 80, handlers: ["http"], force_https: false }],
      concurrency: { type: "requests", soft_limit: 20, hard_limit: null },
    }],
    started_at_ms: 1,
    ...fields,
  };
}

/** The same as a change that a route table takes. */
export function machineChange(
  port: number,
  fields: Fields,
): { table: "machines"; key: string; row: MachineRow } {
  const row = startedMachine(port, fields);
  return { table: "machines", key: `${row.host_id}/${row.id}`, row };
}
