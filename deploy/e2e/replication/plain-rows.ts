/** What the owners have and what a replica holds, read with plain SQL and with none of the code that replicates. */
import { Database } from "bun:sqlite";
import type { Store } from "../../../control/store/database.ts";

/** `hostname NAME APP` of each. */
export async function namesInPostgres(from: Store): Promise<string[]> {
  const rows = await from.read((sql) => sql`SELECT hostname, app_id FROM hostnames`);
  return rows.map((row: { hostname: string; app_id: string }) => `hostname ${row.hostname} ${row.app_id}`);
}

/** `machine HOST/ID APP STATE CORDONED` of each. The worker must not have its file open: it locks it. */
export function machinesInWorker(file: string, hostId: string): string[] {
  const database = new Database(file);
  try {
    const rows = database.query<{ id: string; app_id: string; state: string; cordoned: number }, []>(
      "SELECT id, app_id, state, cordoned FROM machines WHERE made = 1 AND state <> 'destroyed'",
    ).all();
    return rows.map(({ id, app_id, state, cordoned }) =>
      `machine ${hostId}/${id} ${app_id} ${state} ${cordoned === 1}`
    );
  } finally {
    database.close();
  }
}

/** As any program would read it; a file that is being replaced is asked again. */
export function rowsInReplica(file: string): string[] {
  try {
    const database = new Database(file, { readonly: true });
    try {
      const of = (table: "hostnames" | "machines") =>
        database.query<{ key: string; row: string }, []>(`SELECT key, row FROM ${table} WHERE deleted = 0`)
          .all().map(({ key, row }) => ({ key, row: JSON.parse(row) as Record<string, unknown> }));
      return [
        ...of("hostnames").map(({ row }) => `hostname ${row.hostname} ${row.app_id}`),
        ...of("machines").map(({ key, row }) => `machine ${key} ${row.app_id} ${row.state} ${row.cordoned}`),
      ].sort();
    } finally {
      database.close();
    }
  } catch (error) {
    return [String(error)];
  }
}
