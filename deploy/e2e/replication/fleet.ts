/**
 * The owners of a large fleet's rows, by the contract: what each has published, its sums, and a digest of each of them every
 * DIGEST_INTERVAL_MS, none in step with another.
 */
import type { Redis } from "ioredis";
import {
  BATCH_EVENTS_MAX,
  DIGEST_INTERVAL_MS,
  EVENT_SCHEMA,
  GLOBAL_STREAM,
  regionStream,
  type StateDigest,
  type StateEvent,
} from "../../../control/contract/events.ts";
import { TABLES } from "../../../control/contract/rows.ts";
import { rowSum, RunningSum } from "../../../control/contract/row-sum.ts";
import { batchFields, digestFields } from "../../../control/contract/stream-entry.ts";
import { REGION, type Row } from "../../bench/table-rows.ts";

const SLICES = 150;
const PIPELINE_ENTRIES_MAX = 100;

interface Owner {
  readonly tables: Map<string, { rows: number; readonly sum: RunningSum }>;
  newestSeq: number;
}

export class Fleet {
  readonly #redis: Redis;
  readonly #owners = new Map<string, Owner>();
  #seq = 0;
  #slice = 0;
  #timer: ReturnType<typeof setInterval> | null = null;
  #publishing: Promise<unknown> = Promise.resolve();

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  get owners(): number {
    return this.#owners.size;
  }

  /** All rows for the first time, in batches of one owner. */
  async publish(rows: Iterable<Row>): Promise<void> {
    const open = new Map<string, StateEvent[]>();
    let pipeline = this.#redis.pipeline();
    const flush = async () => {
      for (const [error] of await pipeline.exec() ?? []) if (error !== null) throw error;
      pipeline = this.#redis.pipeline();
    };
    const close = (owner: string, events: readonly StateEvent[]) => {
      pipeline.xadd(streamOf(owner), "*", ...batchFields(streamOf(owner), owner, events, null));
      open.delete(owner);
    };
    for (const row of rows) {
      const event = this.#eventOf(row);
      const events = open.get(event.owner) ?? [];
      open.set(event.owner, events);
      events.push(event);
      if (events.length === BATCH_EVENTS_MAX / 2) close(event.owner, events);
      if (pipeline.length >= PIPELINE_ENTRIES_MAX) await flush();
    }
    for (const [owner, events] of [...open]) {
      close(owner, events);
      if (pipeline.length >= PIPELINE_ENTRIES_MAX) await flush();
    }
    await flush();
  }

  /** A newer version of a row that is there. @returns the entry's id */
  async change(row: Row, before: { epoch: number; seq: number }): Promise<string> {
    const event = this.#eventOf(row);
    const table = this.#owners.get(event.owner)!.tables.get(row.table)!;
    table.sum.toggle(rowSum(row.table, row.key, before));
    table.rows--;
    const stream = streamOf(event.owner);
    return (await this.#redis.xadd(stream, "*", ...batchFields(stream, event.owner, [event], null)))!;
  }

  startDigests(): void {
    this.#timer = setInterval(() => {
      const slice = this.#slice++ % SLICES;
      this.#publishing = this.#publishing.then(() => this.#digest(slice));
    }, DIGEST_INTERVAL_MS / SLICES);
  }

  /** Resolves when none is under way. */
  async pauseDigests(): Promise<void> {
    clearInterval(this.#timer ?? undefined);
    await this.#publishing;
  }

  async #digest(slice: number): Promise<void> {
    const pipeline = this.#redis.pipeline();
    let n = 0;
    for (const [owner, { tables, newestSeq }] of this.#owners) {
      if (n++ % SLICES !== slice) continue;
      const digest: StateDigest = {
        ...{ schema: EVENT_SCHEMA, owner, newest: { epoch: 1, seq: newestSeq }, floor_epoch: 0 },
        tables: Object.fromEntries(
          [...tables].map(([table, { rows, sum }]) => [table, { rows, sum: sum.toString() }]),
        ),
        published_ms: Date.now(),
      };
      pipeline.xadd(streamOf(owner), "*", ...digestFields(streamOf(owner), digest, null));
    }
    for (const [error] of await pipeline.exec() ?? []) if (error !== null) throw error;
  }

  #eventOf({ table, key, row }: Row): StateEvent {
    const name = TABLES[table].scope === "global" ? "api" : `worker:${key.slice(0, key.indexOf("/"))}`;
    const version = { epoch: 1, seq: ++this.#seq };
    let owner = this.#owners.get(name);
    if (owner === undefined) this.#owners.set(name, owner = { tables: new Map(), newestSeq: 0 });
    let sums = owner.tables.get(table);
    if (sums === undefined) owner.tables.set(table, sums = { rows: 0, sum: new RunningSum() });
    owner.newestSeq = version.seq;
    sums.rows++;
    sums.sum.toggle(rowSum(table, key, version));
    return {
      ...{ schema: EVENT_SCHEMA, owner: name, table, key, version },
      ...{ deleted: false, row: { ...row }, published_ms: Date.now() },
    };
  }
}

function streamOf(owner: string): string {
  return owner === "api" ? GLOBAL_STREAM : regionStream(REGION);
}
