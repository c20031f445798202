/**
 * Commands that are written to a connection of ioredis, and their replies read from it, without ioredis, which opens it,
 * says who we are and finds out who the primary is. What a stream brings wakes each edge up tens of times a second, and of
 * such a waking most was spent on ioredis' command, its timer and its decoder. One command at a time, and none of ioredis'
 * own meanwhile: whoever has the connection sees to that.
 */
import type { Redis } from "ioredis";
import { assert } from "../../control/contract/errors.ts";
import { ANSWER_WAIT_MS } from "./redis-links.ts";
import { type Decode, type Reply, ReplyError, ReplyParser } from "./reply-parser.ts";

interface Asked {
  readonly atMs: number;
  readonly parser: ReplyParser<unknown>;
  readonly resolve: (reply: unknown) => void;
  readonly reject: (error: Error) => void;
}

export class DirectReads {
  readonly #stream: Redis["stream"];
  #asked: Asked | null = null;
  /** Set once for many commands: to set and clear one for each is a good part of what it costs. */
  #timer: ReturnType<typeof setTimeout> | null = null;

  private constructor(stream: Redis["stream"]) {
    this.#stream = stream;
    const theirs = stream.listeners("data") as ((bytes: Buffer) => void)[];
    stream.removeAllListeners("data");
    stream.on("data", (bytes: Buffer) => {
      if (this.#asked !== null) this.#heard(this.#asked, bytes);
      else for (const listener of theirs) listener.call(stream, bytes);
    });
    stream.once("close", () => {
      if (this.#timer !== null) clearTimeout(this.#timer);
      this.#settled()?.reject(new Error("the connection was closed"));
    });
  }

  static readonly #all = new WeakMap<Redis["stream"], DirectReads>();

  /** @returns null where the connection does not stand: ioredis says why */
  static of(redis: Redis): DirectReads | null {
    const { stream } = redis;
    if (redis.status !== "ready" || stream.destroyed) return null;
    let reads = DirectReads.#all.get(stream);
    if (reads === undefined) DirectReads.#all.set(stream, reads = new DirectReads(stream));
    return reads;
  }

  ask<Field>(parts: readonly (string | number)[], decode: Decode<Field>): Promise<Reply<Field>> {
    assert(this.#asked === null, "a command is under way");
    return new Promise((resolve, reject) => {
      this.#asked = {
        atMs: performance.now(),
        parser: new ReplyParser(decode),
        resolve: resolve as (reply: unknown) => void,
        reject,
      };
      this.#timer ??= setTimeout(() => this.#timeOut(), ANSWER_WAIT_MS);
      this.#stream.write(commandOf(parts));
    });
  }

  #heard({ parser }: Asked, bytes: Buffer): void {
    try {
      const reply = parser.push(bytes);
      if (reply === undefined) return;
      const asked = this.#settled();
      if (reply instanceof ReplyError) asked?.reject(reply);
      else asked?.resolve(reply);
    } catch (error) {
      this.#settled()?.reject(error as Error);
      this.#stream.destroy();
    }
  }

  #timeOut(): void {
    this.#timer = null;
    if (this.#asked === null) return;
    const leftMs = this.#asked.atMs + ANSWER_WAIT_MS - performance.now();
    if (leftMs > 0) {
      this.#timer = setTimeout(() => this.#timeOut(), leftMs);
      return;
    }
    this.#settled()?.reject(new Error(`no answer for ${ANSWER_WAIT_MS} ms`));
    this.#stream.destroy(); // what it may still say is an answer to nothing
  }

  #settled(): Asked | null {
    const asked = this.#asked;
    this.#asked = null;
    return asked;
  }
}

function commandOf(parts: readonly (string | number)[]): string {
  let command = `*${parts.length}\r\n`;
  for (const part of parts) {
    const text = String(part);
    command += `$${Buffer.byteLength(text)}\r\n${text}\r\n`;
  }
  return command;
}
