/**
 * Reads that wait for news of streams on different servers, each on a connection of its own. One that news of another
 * stream have overtaken goes on waiting, and the next call finds it; so at most one read of each stream is under way.
 */
import type { Redis } from "ioredis";
import { type EntriesOf, type FieldKind, readStreams } from "./stream-commands.ts";

interface WaitingRead<Field> {
  readonly position: string;
  /** Null until it is answered. */
  answer: EntriesOf<Field>[] | null;
}

export class WaitingReads<Field> {
  readonly #kind: FieldKind<Field>;
  readonly #link: (stream: string) => Promise<Redis>;
  readonly #reads = new Map<string, WaitingRead<Field>>();
  #error: { readonly cause: unknown } | null = null;
  #stir = Promise.withResolvers<void>();

  constructor(kind: FieldKind<Field>, link: (stream: string) => Promise<Redis>) {
    this.#kind = kind;
    this.#link = link;
  }

  /** Entries of one or more of the streams; none where there were none for `blockMs`. */
  async read(
    positions: ReadonlyMap<string, string>,
    countMax: number,
    blockMs: number,
  ): Promise<EntriesOf<Field>[]> {
    let isOver = false;
    const timer = setTimeout(() => {
      isOver = true;
      this.#stir.resolve();
    }, blockMs);
    try {
      for (;;) {
        this.#stir = Promise.withResolvers<void>();
        if (this.#error !== null) throw this.#error.cause;
        const found: EntriesOf<Field>[] = [];
        for (const [stream, position] of positions) {
          const read = this.#reads.get(stream);
          // One from another position is waited out, and what it found is read again from where it is wanted.
          if (read !== undefined && read.answer === null) continue;
          if (read?.position === position && read.answer!.length > 0) {
            found.push(...read.answer!);
            this.#reads.delete(stream);
          } else this.#begin(stream, position, countMax, blockMs);
        }
        if (found.length > 0 || isOver) return found;
        await this.#stir.promise;
      }
    } finally {
      clearTimeout(timer);
    }
  }

  #begin(stream: string, position: string, countMax: number, blockMs: number): void {
    const read: WaitingRead<Field> = { position, answer: null };
    this.#reads.set(stream, read);
    this.#link(stream)
      .then((redis) => readStreams(redis, this.#kind, [[stream, position]], countMax, blockMs))
      .then((answer) => read.answer = answer, (cause) => this.#error ??= { cause })
      .finally(() => this.#stir.resolve());
  }
}
