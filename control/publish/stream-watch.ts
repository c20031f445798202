/**
 * An owner's look at its stream: at each digest, and before the first append on each new connection, because a Redis that
 * loses its tail (a restart, a failover) does so between two connections. Were something appended first, the newest entry
 * that the owner knows of would be there, and the loss before it would not be seen.
 */
import type { Redis } from "ioredis";
import { messageOf } from "../contract/errors.ts";
import { readEntry } from "../contract/stream-entry.ts";
import { type Mark, mustRepublish, type RepublishReason, type StreamFacts } from "./must-republish.ts";

export interface Glance {
  readonly reason: RepublishReason | null;
  readonly connection: number;
}

export class StreamWatch {
  readonly #redis: Redis;
  readonly #stream: string;
  readonly #owner: string;
  #connection = 0;
  #accepted = -1;
  readonly #onReady = () => void this.#connection++;

  constructor(redis: Redis, stream: string, owner: string) {
    this.#redis = redis;
    this.#stream = stream;
    this.#owner = owner;
    redis.on("ready", this.#onReady);
  }

  /** True until the present connection was looked at: nothing may be appended. */
  get isStale(): boolean {
    return this.#accepted !== this.#connection;
  }

  /** @param lastIds what the owner was told was appended */
  async look(fullFromId: string | null, lastIds: readonly string[]): Promise<Glance> {
    const connection = this.#connection;
    const stream = await streamFacts(this.#redis, this.#stream);
    const fullFrom = fullFromId === null ? null : await this.#mark(fullFromId);
    const last = await Promise.all(lastIds.map((id) => this.#mark(id)));
    return { reason: mustRepublish({ fullFrom, last }, stream), connection };
  }

  async #mark(id: string): Promise<Mark> {
    const [entry] = await this.#redis.xrange(this.#stream, id, id, "COUNT", 1);
    return { id, isThere: entry !== undefined && readEntry(entry[1])?.owner === this.#owner };
  }

  /** What the glance found is durable. */
  accept(glance: Glance): void {
    this.#accepted = glance.connection;
  }

  close(): void {
    this.#redis.off("ready", this.#onReady);
  }
}

/** @returns null where there is no such stream */
export async function streamFacts(redis: Redis, stream: string): Promise<StreamFacts | null> {
  let flat: unknown[];
  try {
    flat = await redis.xinfo("STREAM", stream) as unknown[];
  } catch (error) {
    if (messageOf(error).includes("no such key")) return null;
    throw error;
  }
  const of = (name: string) => flat[flat.indexOf(name) + 1];
  const first = of("first-entry") as [id: string, fields: unknown] | null;
  return { firstId: first?.[0] ?? null, lastGeneratedId: String(of("last-generated-id")) };
}
