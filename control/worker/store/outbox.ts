/**
 * State events that Redis has not acknowledged yet. Written in the transaction that makes the change; a newer event of
 * the same key replaces an unsent older one, because versions make the older one worthless.
 */
import { EVENT_SCHEMA, type StateEvent } from "../../contract/events.ts";
import { keyOf, type RowOf, type TableName } from "../../contract/rows.ts";
import type { Appended } from "../../publish/stream-writer.ts";
import { recordPublished } from "./published.ts";
import type { Store } from "./store.ts";

export interface OutboxEntry {
  /** `TABLE KEY`. */
  readonly key: string;
  readonly seq: number;
  readonly event: StateEvent;
}

export function enqueue<T extends TableName>(store: Store, table: T, row: RowOf<T>, deleted: boolean): void {
  const seq = store.nextSeq();
  const event: StateEvent = {
    schema: EVENT_SCHEMA,
    owner: `worker:${store.identity.host_id}`,
    table,
    key: keyOf(table, row),
    version: { epoch: store.epoch, seq },
    deleted,
    row: deleted ? null : row,
    published_ms: store.now(),
  };
  store.db.query("INSERT OR REPLACE INTO outbox (key, seq, event) VALUES (?, ?, ?)")
    .run(`${table} ${event.key}`, seq, JSON.stringify(event));
  store.touch("");
}

/** The oldest entries first. */
export function pending(store: Store, limit: number): OutboxEntry[] {
  return store.db.query<{ key: string; seq: number; event: string }, [number]>(
    "SELECT key, seq, event FROM outbox ORDER BY seq LIMIT ?",
  ).all(limit).map((row) => ({ ...row, event: JSON.parse(row.event) as StateEvent }));
}

/** Takes out what Redis has, and notes it as published; an entry that was replaced meanwhile stays. */
export function acknowledge(store: Store, entries: readonly OutboxEntry[], appended: Appended): void {
  store.write(() => {
    recordPublished(store, entries.map((entry) => entry.event), appended);
    const statement = store.db.query("DELETE FROM outbox WHERE key = ? AND seq = ?");
    for (const entry of entries) statement.run(entry.key, entry.seq);
  });
}

export function outboxDepth(store: Store): number {
  return store.db.query<{ n: number }, []>("SELECT count(*) AS n FROM outbox").get()?.n ?? 0;
}
