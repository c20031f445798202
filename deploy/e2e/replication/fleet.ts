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
  type Version,
} from "../../../control/contract/events.ts";
import { TABLES } from "../../../control/contract/rows.ts";
import { rowSum, RunningSum } from "../../../control/contract/row-sum.ts";
import { digestFields } from "../../../control/contract/stream-entry.ts";
import { StateStream } from "../../bench/replica/state-stream.ts";
import { REGION, type Row } from "../../bench/table-rows.ts";

const SLICES = 150;

interface Owner {
  readonly tables: Map<string, { rows: number; readonly sum: RunningSum }>;
  newestSeq: number;
}

export class Fleet {
  readonly #redis: Redis;
  readonly #stream: StateStream;
  readonly #owners = new Map<string, Owner>();
  #slice = 0;
  #timer: ReturnType<typeof setInterval> | null = null;
  #publishing: Promise<unknown> = Promise.resolve();

  constructor(redis: Redis) {
    this.#redis = redis;
    this.#stream = new StateStream(redis);
  }

  get owners(): number {
    return this.#owners.size;
  }

  /** All rows for the first time, in batches of one owner. */
  async publish(rows: Iterable<Row>): Promise<void> {
    await this.#stream.append(rows, BATCH_EVENTS_MAX, (event) => this.#note(event));
  }

  /** A newer version of a row that is there, while no digests are published. @returns the entry's id */
  async change(row: Row, before: Version): Promise<string> {
    await this.#stream.append([row], 1, (event) => this.#note(event));
    const owner = ownerOf(row);
    const sums = this.#owners.get(owner)!.tables.get(row.table)!;
    sums.sum.toggle(rowSum(row.table, row.key, before));
    sums.rows--;
    const [last] = await this.#redis.xrevrange(streamOf(owner), "+", "-", "COUNT", 1);
    return last![0];
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

  #note({ owner: name, table, key, version }: StateEvent): void {
    let owner = this.#owners.get(name);
    if (owner === undefined) this.#owners.set(name, owner = { tables: new Map(), newestSeq: 0 });
    let sums = owner.tables.get(table);
    if (sums === undefined) owner.tables.set(table, sums = { rows: 0, sum: new RunningSum() });
    owner.newestSeq = version.seq;
    sums.rows++;
    sums.sum.toggle(rowSum(table, key, version));
  }
}

function ownerOf({ table, key }: Row): string {
  return TABLES[table].scope === "global" ? "api" : `worker:${key.slice(0, key.indexOf("/"))}`;
}
function streamOf(owner: string): string {
  return owner === "api" ? GLOBAL_STREAM : regionStream(REGION);
}
