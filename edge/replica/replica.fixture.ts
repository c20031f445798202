/** For tests: a real Redis of one's own, publishers that sign and digest as owners do, replicas that are impatient. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { pino } from "pino";
import {
  GLOBAL_STREAM,
  regionStream,
  type StateDigest,
  type StateEvent,
} from "../../control/contract/events.ts";
import { rowSum, RunningSum } from "../../control/contract/row-sum.ts";
import {
  newSigningKeyPem,
  type PublisherKey,
  type SigningKey,
  signingKey,
} from "../../control/contract/signing.ts";
import { batchFields, digestFields } from "../../control/contract/stream-entry.ts";
import { startOwnRedis } from "../../deploy/servers/testbed.ts";
import type { RowChange } from "../routes/route-table.ts";
import { openBunDatabase } from "../runtime/sqlite-bun.ts";
import type { FileSystem } from "./file-system.ts";
import { pause } from "./pause.ts";
import type { ReplicaWorld, SnapshotSources } from "./ports.ts";
import { redisStreams } from "./redis-streams.ts";
import { FolderFiles } from "./replica-files.ts";
import { Replica } from "./replica.ts";
import type { ReplicaTuning } from "./tuning.ts";

export const APP = "a".repeat(20);
export const REGION = "ams";

/** What a test has begun, ended in the opposite order. */
export class Cleanups {
  readonly #all: (() => unknown)[] = [];

  add(cleanup: () => unknown): void {
    this.#all.push(cleanup);
  }

  async run(): Promise<void> {
    for (const cleanup of this.#all.splice(0).reverse()) await cleanup();
  }

  folder(): string {
    const made = mkdtempSync(join(tmpdir(), "godwit-replica-"));
    this.add(() => rmSync(made, { recursive: true, force: true }));
    return made;
  }

  async redis() {
    const server = await startOwnRedis();
    this.add(() => server.stop());
    const admin = new Redis(server.urlOf("admin"), { protocol: 2 });
    admin.on("error", () => {});
    this.add(() => admin.disconnect());
    return { url: server.urlOf("edge"), admin };
  }

  follow(options: FollowOptions) {
    const seen: RowChange[] = [];
    let takeOvers = 0;
    const replica = new Replica({
      world: worldOf(options),
      regions: [],
      apiPublicKey: options.apiPublicKey ?? null,
      log: pino({ level: process.env.REPLICA_TEST_LOG ?? "silent" }),
      onChanges: (changes) => void seen.push(...changes),
      onTakeOver: () => void takeOvers++,
      tuning: { ...IMPATIENT, ...options.tuning },
    });
    let stopped: Promise<void> | null = null;
    const stop = () => stopped ??= replica.stop();
    this.add(stop);
    replica.start();
    return {
      replica,
      seen,
      stop,
      get takeOvers() {
        return takeOvers;
      },
    };
  }
}

export interface FollowOptions {
  readonly file: string;
  readonly url: string;
  readonly apiPublicKey?: PublisherKey;
  readonly snapshots?: SnapshotSources;
  readonly files?: FileSystem;
  readonly tuning?: Partial<ReplicaTuning>;
}

export const IMPATIENT: Partial<ReplicaTuning> = {
  scrubIntervalMs: 100,
  scrubShare: 1,
  silenceGraceMs: 3_000,
  judgeIntervalMs: 10,
  healDelayMs: 20,
};

export const NO_SNAPSHOTS: SnapshotSources = {
  list: () => Promise.resolve([]),
  fetch: () => Promise.reject(new Error("there are none")),
};

function worldOf({ file, url, snapshots = NO_SNAPSHOTS, files }: FollowOptions): ReplicaWorld {
  return {
    streams: redisStreams(url),
    files: new FolderFiles(file, openBunDatabase, files),
    snapshots,
    nowMs: () => performance.now(),
    wallMs: () => Date.now(),
    random: Math.random,
    pause,
  };
}

/** An owner, as the contract wants it. */
export class TestPublisher {
  readonly owner: string;
  readonly stream: string;
  readonly key: SigningKey;
  readonly region: string;
  readonly #redis: Redis | null;
  readonly #events = new Map<string, StateEvent>();
  #seq = 0;

  /** @param owner `api`, or a worker of the region */
  constructor(
    redis: Redis | null,
    owner: string,
    key: SigningKey = signingKey(newSigningKeyPem()),
    region = REGION,
  ) {
    this.#redis = redis;
    this.region = region;
    this.owner = owner;
    this.key = key;
    this.stream = owner === "api" ? GLOBAL_STREAM : regionStream(region);
  }

  /** @param row null: it is deleted */
  event(table: string, key: string, row: Record<string, unknown> | null): StateEvent {
    const version = { epoch: 1, seq: ++this.#seq };
    const event: StateEvent = {
      schema: 1,
      ...{ owner: this.owner, table, key, version, deleted: row === null, row },
      published_ms: Date.now(),
    };
    this.#events.set(`${table}\0${key}`, event);
    return event;
  }

  async publish(table: string, key: string, row: Record<string, unknown> | null): Promise<string> {
    return await this.append([this.event(table, key, row)]);
  }
  async hostname(name: string, deleted = false): Promise<string> {
    return await this.publish("hostnames", name, deleted ? null : { hostname: name, app_id: APP });
  }
  async host(): Promise<string> {
    const id = this.owner.slice("worker:".length);
    return await this.publish("hosts", id, {
      id,
      region: this.region,
      state: "ready",
      cpus: 1,
      memory_mb: 1,
    });
  }

  async append(events: StateEvent[]): Promise<string> {
    return await this.#add(batchFields(this.stream, this.owner, events, this.key));
  }

  digestNow(): StateDigest {
    const tables: Record<string, { rows: number; sum: RunningSum }> = {};
    for (const { table, key, version, deleted } of this.#events.values()) {
      if (deleted) continue;
      const found = tables[table] ??= { rows: 0, sum: new RunningSum() };
      found.rows++;
      found.sum.toggle(rowSum(table, key, version));
    }
    return {
      schema: 1,
      ...{ owner: this.owner, newest: { epoch: 1, seq: this.#seq }, floor_epoch: 0 },
      tables: Object.fromEntries(
        Object.entries(tables).map(([table, { rows, sum }]) => [table, { rows, sum: sum.toString() }]),
      ),
      published_ms: Date.now(),
    };
  }

  async digest(): Promise<string> {
    return await this.#add(digestFields(this.stream, this.digestNow(), this.key));
  }

  /** What an owner does at its next digest when it finds that its stream has lost something. */
  async publishAgain(): Promise<void> {
    for (const event of this.#events.values()) await this.append([event]);
    await this.digest();
  }

  /** As an owner does after a week. */
  forgetTombstones(): void {
    for (const [name, { deleted }] of this.#events) if (deleted) this.#events.delete(name);
  }

  async #add(fields: string[]): Promise<string> {
    const id = await this.#redis!.xadd(this.stream, "*", ...fields);
    return id!;
  }
}
