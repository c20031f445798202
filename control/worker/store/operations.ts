/** Operations under way and their last step: what the agent goes on with after it was killed. */
import { assert, GodwitError, WireError } from "../../contract/errors.ts";
import type { Store } from "./store.ts";

export type OperationStatus = "running" | "undoing" | "done" | "failed" | "superseded";

export interface OperationRow {
  readonly id: number;
  readonly machine_id: string;
  readonly kind: string;
  readonly step: number;
  readonly status: OperationStatus;
  readonly input: unknown;
  readonly memory: Record<string, unknown>;
  /** Why it is undone, or why it failed. */
  readonly error: GodwitError | null;
}

type Row = Record<string, string | number | null>;

function parse(row: Row): OperationRow {
  return {
    id: Number(row.id),
    machine_id: String(row.machine_id),
    kind: String(row.kind),
    step: Number(row.step),
    status: row.status as OperationStatus,
    input: JSON.parse(String(row.input)),
    memory: JSON.parse(String(row.memory)) as Record<string, unknown>,
    error: row.error === null ? null : GodwitError.fromWire(WireError.parse(JSON.parse(String(row.error)))),
  };
}

/** The operation stands at its first step, which is thereby intended. */
export function insertOperation(store: Store, machineId: string, kind: string, input: unknown): OperationRow {
  const now = store.now();
  const row = store.db.query<Row, [string, string, string, number, number]>(
    `INSERT INTO operations (machine_id, kind, step, status, input, memory, created_at_ms, updated_at_ms)
     VALUES (?, ?, 0, 'running', ?, '{}', ?, ?) RETURNING *`,
  ).get(machineId, kind, JSON.stringify(input ?? null), now, now);
  assert(row !== null, "an insert returns its row");
  return parse(row);
}

/** Those that a restarted agent must finish or undo, oldest first. */
export function unfinishedOperations(store: Store): OperationRow[] {
  return store.db.query<Row, []>(
    "SELECT * FROM operations WHERE status IN ('running', 'undoing') ORDER BY id",
  ).all().map(parse);
}

export function lastOperation(store: Store, machineId: string): OperationRow | null {
  const row = store.db.query<Row, [string]>(
    "SELECT * FROM operations WHERE machine_id = ? ORDER BY id DESC LIMIT 1",
  ).get(machineId);
  return row === null ? null : parse(row);
}

export function setStep(store: Store, id: number, step: number): void {
  store.db.query("UPDATE operations SET step = ?, updated_at_ms = ? WHERE id = ?").run(step, store.now(), id);
}

export function setMemory(store: Store, id: number, memory: Record<string, unknown>): void {
  store.db.query("UPDATE operations SET memory = ? WHERE id = ?").run(JSON.stringify(memory), id);
}

export function setStatus(
  store: Store,
  id: number,
  status: OperationStatus,
  error: GodwitError | null = null,
): void {
  store.db.query(
    "UPDATE operations SET status = ?, error = coalesce(?, error), updated_at_ms = ? WHERE id = ?",
  )
    .run(status, error === null ? null : JSON.stringify(error.toWire()), store.now(), id);
}

/** Finished operations are kept for `worker explain`-like questions, a bounded number of them. */
export function pruneOperations(store: Store, keep: number): void {
  store.db.query(
    `DELETE FROM operations WHERE status NOT IN ('running', 'undoing')
     AND id <= (SELECT max(id) FROM operations) - ?`,
  ).run(keep);
}
