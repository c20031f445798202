/**
 * How ioredis is told to connect to the Redis of a URL: one server, the primary that Sentinel names, or the server of a
 * Cluster that has one key. The last is a connection like any other, which goes to another server when the key has moved,
 * and not ioredis' own Cluster client: whoever publishes to a stream has to look through it after each change of server
 * (`publish/stream-watch.ts`), and that client changes servers, and repeats commands there, without saying so.
 */
import { readFileSync } from "node:fs";
import { createConnection } from "node:net";
import { connect as connectTls } from "node:tls";
import { AbstractConnector, Redis, type RedisOptions as AllOptions } from "ioredis";
import { keySlot, primariesOf, primaryOf, readSlots, type SlotRange } from "./cluster-slots.ts";
import { assert, messageOf } from "./errors.ts";
import { parseRedisUrl, type RedisAddress, type RedisHost, shownRedis } from "./redis-url.ts";

/** A sentinel, or a server that is asked for the cluster's others, that has not answered is passed over. */
export const ASK_WAIT_MS = 2_000;
/** A closed connection's socket is destroyed where the other side does not close its half. */
const CLOSE_WAIT_MS = 2_000;
/** What a server says that is not, or not any more, the one to talk to. */
const WRONG_SERVER = /^(MOVED|ASK|READONLY|CLUSTERDOWN|MASTERDOWN|UNBLOCKED) /;

/** Without what would leave the answers' types open. */
type RedisOptions = Omit<AllOptions, "replyMapping">;

export interface RedisConnectionUse {
  /** PEM: who may have signed a `rediss:` server's certificate. @default those that the runtime knows */
  readonly caFile?: string | undefined;
  /** In a cluster: the connection is to whoever has this key. */
  readonly key?: string | undefined;
  /** How long to wait after so many vain rounds of asking sentinels, or a cluster. Null: to fail after the first one. */
  readonly retryMs: ((failures: number) => number) | null;
}

/** To be spread into `new Redis({ … })`, with what the caller wants of commands and retries. */
export function redisOptions(url: string, use: RedisConnectionUse): RedisOptions {
  const address = parseRedisUrl(url);
  const { hosts, topology, primary, database, sentinelUser } = address;
  const tls = tlsOf(address, use.caFile);
  const shared: RedisOptions = { ...serverOptions(address, use.caFile), db: database };
  if (topology === "single") return { ...shared, host: hosts[0].host, port: hosts[0].port };
  const reconnectOnError = (error: Error) => WRONG_SERVER.test(error.message);
  if (topology === "sentinel") {
    assert(primary !== null, "a Sentinel's URL names the primary");
    return {
      ...shared,
      reconnectOnError,
      sentinels: hosts.map(({ host, port }) => ({ host, port })),
      name: primary,
      // It looks at the role: a sentinel may not have heard yet that it is another's.
      enableReadyCheck: true,
      sentinelCommandTimeout: ASK_WAIT_MS,
      sentinelRetryStrategy: use.retryMs ?? (() => null),
      ...(sentinelUser.username === null ? {} : { sentinelUsername: sentinelUser.username }),
      ...(sentinelUser.password === null ? {} : { sentinelPassword: sentinelUser.password }),
      ...(tls === null ? {} : { enableTLSForSentinelMode: true, sentinelTLS: tls }),
    };
  }
  assert(use.key !== undefined, "a connection to a cluster is for one key");
  const { key, retryMs } = use;
  const servers = new ClusterServers(address, use.caFile);
  return {
    ...shared,
    reconnectOnError,
    enableReadyCheck: true,
    Connector: class extends KeyOwnerConnector {
      constructor() {
        super(servers, key, tls, retryMs);
      }
    },
  };
}

/** What holds for a connection to any server with data. The file is read anew, so that a renewed one is heeded. */
export function serverOptions(address: RedisAddress, caFile: string | undefined) {
  const { username, password } = address.user;
  const tls = tlsOf(address, caFile);
  return {
    // ioredis 6 speaks RESP3 otherwise, where XREAD and XINFO answer in another shape.
    protocol: 2 as const,
    ...(username === null ? {} : { username }),
    ...(password === null ? {} : { password }),
    ...(tls === null ? {} : { tls }),
  };
}

/** Servers of a cluster that may be asked who has what: those of the URL, and those that others named. */
export class ClusterServers {
  readonly #address: RedisAddress;
  readonly #caFile: string | undefined;
  #known: readonly RedisHost[];
  #first = 0;

  constructor(address: RedisAddress, caFile?: string) {
    this.#address = address;
    this.#caFile = caFile;
    this.#known = address.hosts;
  }

  /** Rejects where nobody answers. Who answered last is not asked first again: one that was left behind is wrong. */
  async slots(): Promise<SlotRange[]> {
    const known = this.#known;
    const first = this.#first++;
    let why = "";
    for (let i = 0; i < known.length; i++) {
      const asked = known[(first + i) % known.length]!;
      try {
        const ranges = await this.#ask(asked);
        if (ranges.length === 0) throw new Error("it belongs to no cluster that has slots");
        const all = [...this.#address.hosts, ...primariesOf(ranges)];
        this.#known = [...new Map(all.map((host) => [`${host.host}:${host.port}`, host])).values()];
        return ranges;
      } catch (error) {
        why = messageOf(error);
      }
    }
    throw new Error(`no server of the cluster ${shownRedis(this.#address)} says who has what: ${why}`);
  }

  async #ask(host: RedisHost): Promise<SlotRange[]> {
    const redis = new Redis({
      ...serverOptions(this.#address, this.#caFile),
      ...{ host: host.host, port: host.port },
      ...{ lazyConnect: true, retryStrategy: () => null, maxRetriesPerRequest: 0, enableReadyCheck: false },
      ...{ connectTimeout: ASK_WAIT_MS, commandTimeout: ASK_WAIT_MS },
    });
    let why: Error | null = null;
    redis.on("error", (error: Error) => why = error);
    try {
      await redis.connect();
      return readSlots(await redis.cluster("SLOTS"), host);
    } catch (error) {
      throw why ?? error;
    } finally {
      redis.disconnect();
    }
  }
}

class KeyOwnerConnector extends AbstractConnector {
  readonly #servers: ClusterServers;
  readonly #key: string;
  readonly #tls: TlsOptions | null;
  readonly #retryMs: RedisConnectionUse["retryMs"];

  constructor(
    servers: ClusterServers,
    key: string,
    tls: TlsOptions | null,
    retryMs: RedisConnectionUse["retryMs"],
  ) {
    super(CLOSE_WAIT_MS);
    this.#servers = servers;
    this.#key = key;
    this.#tls = tls;
    this.#retryMs = retryMs;
  }

  /** @param tell Hears of each vain round: where this rejects, ioredis never tries again. */
  override async connect(tell: (type: string, error: Error) => void) {
    this.connecting = true;
    const { host, port } = await this.#owner(tell);
    const stream = this.#tls === null
      ? createConnection({ host, port })
      : connectTls({ host, port, ...this.#tls });
    stream.once("error", (error) => this.firstError = error);
    return this.stream = stream;
  }

  async #owner(tell: (type: string, error: Error) => void): Promise<RedisHost> {
    for (let failures = 1;; failures++) {
      try {
        const owner = primaryOf(await this.#servers.slots(), keySlot(this.#key));
        if (!this.connecting) throw new Error("the connection was closed meanwhile");
        if (owner !== null) return owner;
        throw new Error(`no server of the cluster has the slot of ${this.#key}`);
      } catch (error) {
        if (!this.connecting || this.#retryMs === null) throw error;
        tell("error", error as Error);
        const ms = this.#retryMs(failures);
        await new Promise((resolve) => setTimeout(resolve, ms));
        if (!this.connecting) throw error;
      }
    }
  }
}

type TlsOptions = { readonly ca?: string };

function tlsOf({ tls }: RedisAddress, caFile: string | undefined): TlsOptions | null {
  return !tls ? null : caFile === undefined ? {} : { ca: readFileSync(caFile, "utf8") };
}
