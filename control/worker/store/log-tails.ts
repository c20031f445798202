/** The last lines of each machine and the guest's position, saved now and then so that a new agent goes on from there. */
import { LogLine } from "../../contract/events.ts";
import type { Store } from "./store.ts";

export interface LogTail {
  readonly nextSeq: number;
  readonly lines: readonly LogLine[];
}

export function saveLogTail(store: Store, machineId: string, tail: LogTail): void {
  store.db.query("INSERT OR REPLACE INTO log_tails (machine_id, next_seq, lines) VALUES (?, ?, ?)")
    .run(machineId, tail.nextSeq, JSON.stringify(tail.lines));
}

export function loadLogTail(store: Store, machineId: string): LogTail {
  const row = store.db.query<{ next_seq: number; lines: string }, [string]>(
    "SELECT next_seq, lines FROM log_tails WHERE machine_id = ?",
  ).get(machineId);
  if (row === null) return { nextSeq: 0, lines: [] };
  return { nextSeq: row.next_seq, lines: LogLine.array().parse(JSON.parse(row.lines)) };
}

export function deleteLogTail(store: Store, machineId: string): void {
  store.db.query("DELETE FROM log_tails WHERE machine_id = ?").run(machineId);
}
