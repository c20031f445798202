/** Fills the state streams with rows as their owners would publish them: in batches, each of one owner. */
import type { Redis } from "ioredis";
import {
  BATCH_BYTES_MAX,
  BATCH_EVENTS_MAX,
  EVENT_SCHEMA,
  GLOBAL_STREAM,
  regionStream,
  type StateEvent,
} from "../../../control/contract/events.ts";
import type { SigningKey } from "../../../control/contract/signing.ts";
import { TABLES } from "../../../control/contract/rows.ts";
import { batchFields } from "../../../control/contract/stream-entry.ts";
import { REGION, type Row } from "../table-rows.ts";

/** Less than an entry may hold, because events are measured before they are joined. */
const FILL_BYTES_MAX = BATCH_BYTES_MAX * 0.8;
const PIPELINE_BYTES_MAX = 4 * 1_048_576;

export class StateStream {
  readonly #redis: Redis;
  readonly #key: SigningKey | null;
  #sequence = 0;

  /** @param key signs what owner `api` says; null: nothing is signed */
  constructor(redis: Redis, key: SigningKey | null = null) {
    this.#redis = redis;
    this.#key = key;
  }

  /** @param eventsMax in an entry; 1 is what a publisher makes of single changes */
  async append(
    rows: Iterable<Row>,
    eventsMax = BATCH_EVENTS_MAX,
    onEvent: (event: StateEvent) => void = () => {},
  ): Promise<number> {
    const open = new Map<string, { events: StateEvent[]; bytes: number }>();
    let pipeline = this.#redis.pipeline();
    let [bytes, count] = [0, 0];
    const close = (owner: string) => {
      const { events, bytes: batchBytes } = open.get(owner)!;
      open.delete(owner);
      const stream = owner === "api" ? GLOBAL_STREAM : regionStream(REGION);
      pipeline.xadd(stream, "*", ...batchFields(stream, owner, events, owner === "api" ? this.#key : null));
      bytes += batchBytes;
    };
    const flush = async () => {
      for (const [error] of await pipeline.exec() ?? []) if (error !== null) throw error;
      pipeline = this.#redis.pipeline();
      bytes = 0;
    };
    for (const row of rows) {
      const event = this.#event(row);
      onEvent(event);
      count++;
      let batch = open.get(event.owner);
      if (batch === undefined) open.set(event.owner, batch = { events: [], bytes: 0 });
      batch.events.push(event);
      batch.bytes += JSON.stringify(event).length;
      if (batch.events.length >= eventsMax || batch.bytes >= FILL_BYTES_MAX) close(event.owner);
      if (bytes >= PIPELINE_BYTES_MAX) await flush();
    }
    for (const owner of [...open.keys()]) close(owner);
    await flush();
    return count;
  }

  #event({ table, key, row }: Row): StateEvent {
    const owner = TABLES[table].scope === "global" ? "api" : `worker:${key.slice(0, key.indexOf("/"))}`;
    return {
      ...{ schema: EVENT_SCHEMA, owner, table, key, version: { epoch: 1, seq: ++this.#sequence } },
      ...{ deleted: false, row: { ...row }, published_ms: Date.now() },
    };
  }
}
