/**
 * The state streams of a Redis: of one server, of the primary that Sentinel names, or of a Cluster, where streams lie on
 * different servers. A command that is not answered in time ends the session; whoever follows makes another.
 */
import type { StateStreams } from "./ports.ts";
import { type RedisLinks, redisLinks } from "./redis-links.ts";
import {
  type EntriesOf,
  type EntryOf,
  type FieldKind,
  readInfo,
  readNewestUpTo,
  readStreams,
  scanRegionStreams,
  TEXT,
} from "./stream-commands.ts";
import type { StreamInfo } from "./stream-gap.ts";
import { WaitingReads } from "./waiting-reads.ts";

/**
 * @param url in one of the forms of `contract/redis-url.ts`
 * @param caFile PEM: who may have signed a `rediss:` server's certificate; none: the authorities that the runtime knows
 */
export function redisStreams(url: string, caFile?: string): StateStreams {
  return { connect: redisSessions(url, TEXT, caFile) };
}

/** For readers that want the entries' bytes, too. */
export function redisSessions<Field>(
  url: string,
  kind: FieldKind<Field>,
  caFile?: string,
): () => Promise<RedisSession<Field>> {
  const open = redisLinks(url, caFile);
  return async () => new RedisSession(await open(), kind);
}

export class RedisSession<Field> {
  readonly #links: RedisLinks;
  readonly #kind: FieldKind<Field>;
  readonly #waiting: WaitingReads<Field>;
  #turn: Promise<void> = Promise.resolve();

  constructor(links: RedisLinks, kind: FieldKind<Field>) {
    this.#links = links;
    this.#kind = kind;
    this.#waiting = new WaitingReads(kind, (stream) => links.waiting(stream));
  }

  regionStreams(): Promise<string[]> {
    return this.#answer(async () => {
      const found = await Promise.all(this.#links.primaries.map(scanRegionStreams));
      // While a slot moves, two servers may name its keys.
      return [...new Set(found.flat())];
    });
  }

  info(stream: string): Promise<StreamInfo | null> {
    return this.#answer(() => readInfo(this.#links.of(stream), stream));
  }

  read(
    positions: ReadonlyMap<string, string>,
    countMax: number,
    blockMs: number,
  ): Promise<EntriesOf<Field>[]> {
    return this.#answer(async () => {
      const links = this.#links;
      if (links.isOne) {
        return await readStreams(links.primaries[0]!, this.#kind, [...positions], countMax, blockMs);
      }
      if (blockMs > 0) return await this.#waiting.read(positions, countMax, blockMs);
      // A cluster takes no command about keys of different slots.
      const servers = Map.groupBy(positions, ([stream]) => links.of(stream));
      const found = await Promise.all(
        Array.from(servers, async ([link, theirs]) => {
          const found: EntriesOf<Field>[] = [];
          for (const each of theirs) {
            found.push(...await readStreams(link, this.#kind, [each], countMax, 0));
          }
          return found;
        }),
      );
      return found.flat();
    });
  }

  /** The newest entry whose id is `id` or lower; null where there is none. */
  newestUpTo(stream: string, id: string): Promise<EntryOf<Field> | null> {
    return this.#answer(() => readNewestUpTo(this.#links.of(stream), this.#kind, stream, id));
  }

  close(): void {
    this.#links.close();
  }

  /** One after the other. A rejected command only says that the connection is closed; the links know why. */
  async #answer<T>(ask: () => Promise<T>): Promise<T> {
    const before = this.#turn;
    const turn = Promise.withResolvers<void>();
    this.#turn = turn.promise;
    await before;
    try {
      return await ask();
    } catch (error) {
      this.close();
      throw this.#links.why ?? error;
    } finally {
      turn.resolve();
    }
  }
}
