/**
 * What this host has published, so that it can say its digest and publish all of it again, and where its stream stands.
 * Written as the outbox is emptied. Few enough rows that their sum is taken anew for each digest.
 */
import type { StateEvent, Version } from "../../contract/events.ts";
import { newerId } from "../../publish/must-republish.ts";
import { applyChanges, type TableSums, withEmptyTables } from "../../publish/published-sums.ts";
import type { Appended } from "../../publish/stream-writer.ts";
import type { Store } from "./store.ts";

const LAST_ID = "stream_last_id";
const FULL_FROM_ID = "stream_full_from_id";
const FLOOR_EPOCH = "floor_epoch";
const regionTables = ["machines", "hosts"];

/** Ids in the stream, as durable as the rows. */
export interface StreamMarks {
  readonly lastId: string | null;
  /** The first entry of the last publication of all rows. */
  readonly fullFromId: string | null;
}

export function streamMarks(store: Store): StreamMarks {
  return { lastId: store.fact(LAST_ID), fullFromId: store.fact(FULL_FROM_ID) };
}

/** Call it inside `write`. */
export function recordPublished(store: Store, events: readonly StateEvent[], appended: Appended): void {
  const statement = store.db.query(
    `INSERT INTO published (key, epoch, seq, deleted, published_ms, event) VALUES (?, ?, ?, ?, ?, ?)
     ON CONFLICT (key) DO UPDATE SET epoch = excluded.epoch, seq = excluded.seq, deleted = excluded.deleted,
       published_ms = excluded.published_ms, event = excluded.event
     WHERE (excluded.epoch, excluded.seq) > (published.epoch, published.seq)`,
  );
  for (const event of events) {
    const { table, key, version, deleted, published_ms } = event;
    statement.run(
      `${table} ${key}`,
      version.epoch,
      version.seq,
      deleted ? 1 : 0,
      published_ms,
      JSON.stringify(event),
    );
  }
  noteAppended(store, appended);
}

/** The first append after the marks were forgotten begins a publication of all rows: the outbox held them all. */
export function noteAppended(store: Store, { firstId, lastId }: Appended): void {
  store.write(() => {
    const marks = streamMarks(store);
    store.setFact(LAST_ID, newerId(marks.lastId, lastId)!);
    if (marks.fullFromId === null) store.setFact(FULL_FROM_ID, firstId);
  });
}

/** The stream has lost something, so what it was said to end with is void. */
export function forgetLastId(store: Store): void {
  store.write(() => store.removeFact(LAST_ID));
}

export function setFullFromId(store: Store, id: string): void {
  store.write(() => store.setFact(FULL_FROM_ID, id));
}

/** Tombstones too; in the order of their names `TABLE KEY`. */
export function pageOfPublished(store: Store, afterName: string, limit: number): StateEvent[] {
  return store.db.query<{ event: string }, [string, number]>(
    "SELECT event FROM published WHERE key > ? ORDER BY key LIMIT ?",
  ).all(afterName, limit).map((row) => JSON.parse(row.event) as StateEvent);
}

export function publishedSums(store: Store): TableSums {
  const rows = store.db.query<{ key: string; epoch: number; seq: number }, []>(
    "SELECT key, epoch, seq FROM published WHERE deleted = 0",
  ).all();
  const states = rows.map(({ key: name, epoch, seq }) => {
    const space = name.indexOf(" ");
    const [table, key] = [name.slice(0, space), name.slice(space + 1)];
    return { table, key, version: { epoch, seq }, deleted: false };
  });
  return withEmptyTables(applyChanges({}, [], states).sums, regionTables);
}

export function forgetTombstones(store: Store, olderThanMs: number): void {
  store.write(() =>
    store.db.query("DELETE FROM published WHERE deleted = 1 AND published_ms < ?").run(olderThanMs)
  );
}

export function newestVersion(store: Store): Version {
  return { epoch: store.epoch, seq: Number(store.fact("seq") ?? 0) };
}

/** Every live row that this host has published, or is about to, has this epoch or a later one; null: nobody has seen to it. */
export function floorEpoch(store: Store): number | null {
  const fact = store.fact(FLOOR_EPOCH);
  return fact === null ? null : Number(fact);
}

/** Forgets what was published and begins to count in this epoch. The caller puts all live rows into the outbox. */
export function beginEpoch(store: Store, epoch: number): void {
  store.setFact("epoch", String(epoch));
  store.setFact(FLOOR_EPOCH, String(epoch));
  store.db.run("DELETE FROM published");
  store.removeFact(LAST_ID);
  store.removeFact(FULL_FROM_ID);
}
