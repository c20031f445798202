/**
 * An edge: the real `Replica` on a simulated disk and network, ended at any await or within any write, and begun again
 * with what its disk has. Whatever it awaits never comes once its life is over.
 */
import type { Logger } from "pino";
import { messageOf } from "../../../control/contract/errors.ts";
import type { PublisherKey } from "../../../control/contract/signing.ts";
import type { RowChange } from "../../routes/route-table.ts";
import type { ReplicaWorld, SnapshotSources, StreamSession } from "../ports.ts";
import { Replica, type ReplicaStatus } from "../replica.ts";
import type { Disk } from "./disk.ts";
import type { FakeRedis } from "./fake-redis.ts";
import { connectFake, type NetworkFaults } from "./fake-session.ts";
import { markStatus } from "./marks.ts";
import { nameOf } from "./owner-state.ts";
import { readView } from "./replica-view.ts";
import type { World } from "./world.ts";

const RESTART_MS_MAX = 3_000;

export interface EdgeFaults extends NetworkFaults {
  /** Of awaits: the process ends there. */
  crashRate: number;
}

export interface EdgeOptions {
  readonly name: string;
  readonly world: World;
  readonly redis: FakeRedis;
  readonly disk: Disk;
  readonly faults: EdgeFaults;
  /** @param isOver whether the process has ended: then its downloads write nothing any more */
  readonly snapshots: (disk: Disk, isOver: () => boolean) => SnapshotSources;
  readonly regions: readonly string[];
  readonly apiPublicKey: PublisherKey | null;
  readonly log: Logger;
  readonly onRows: (edge: EdgeModel, changes: readonly RowChange[]) => void;
  /** It has begun with what its disk has, or another generation is present. */
  readonly onFile: (edge: EdgeModel, event: "began" | "took over") => void;
  readonly onPowerCut: (edge: EdgeModel) => void;
}

interface Life {
  isOver: boolean;
  readonly sessions: Set<StreamSession>;
}

export class EdgeModel {
  readonly name: string;
  readonly disk: Disk;
  readonly regions: readonly string[];
  readonly #options: EdgeOptions;
  #life: Life | null = null;
  #replica: Replica | null = null;
  #isRestarting = false;
  /** Rows as the relay knows them, JSON by `nameOf`: what it read at the beginning and what it was told since. */
  readonly routed = new Map<string, string>();

  constructor(options: EdgeOptions) {
    this.#options = options;
    this.name = options.name;
    this.disk = options.disk;
    this.regions = options.regions;
  }

  get isUp(): boolean {
    return this.#replica !== null;
  }
  /** The run is at its end. */
  finish(): void {
    this.#countStatus();
  }
  /** Null while it is down. */
  status(): ReplicaStatus | null {
    return this.#replica?.status() ?? null;
  }

  /** Where it cannot begin it tries again, as its keeper does. */
  start(): void {
    this.#isRestarting = false;
    if (this.#life !== null) return;
    const { world, disk, apiPublicKey, regions, log } = this.#options;
    const life: Life = { isOver: false, sessions: new Set() };
    this.#life = life;
    try {
      const replica = new Replica({
        world: this.#world(life),
        ...{ apiPublicKey, regions, log },
        onChanges: (changes) => this.#changed(life, changes),
        onTakeOver: () => {
          if (life.isOver) return;
          world.tell(`${this.name} takes over`);
          world.trace.sometimes("a generation took over");
          this.#readAgain();
          this.#options.onFile(this, "took over");
        },
      });
      if (life.isOver) return;
      this.#replica = replica;
      this.routed.clear();
      for (const change of replica.stored()) this.#route(change);
      world.tell(`${this.name} begins with ${this.routed.size} rows`);
      this.#options.onFile(this, "began");
      // As a replicator's process does: the first reads wait for nothing.
      void replica.caughtUp();
      replica.start();
    } catch (error) {
      world.tell(`${this.name} cannot begin: ${disk.withoutPaths(messageOf(error))}`);
      world.trace.sometimes("a replica could not begin");
      this.#lastError = error;
      if (!life.isOver) this.crash("it could not begin");
    }
  }
  #lastError: unknown = null;
  /** Why it could not begin the last time. */
  get lastError(): unknown {
    return this.#lastError;
  }

  /** The process ends here and now; its disk keeps what was written. */
  crash(why: string): void {
    if (this.#life === null) return;
    this.#end(why);
    this.disk.endProcess();
    this.#restart();
  }

  cutPower(): void {
    if (this.#life === null) return;
    this.#end("the power is cut");
    if (this.disk.cutPower()) this.#options.world.trace.sometimes("a power cut lost what was written");
    this.#options.onPowerCut(this);
    this.#restart();
  }

  /** Asks it to stop, as for an upgrade. */
  async stop(): Promise<void> {
    const { world } = this.#options;
    const [life, replica] = [this.#life, this.#replica];
    if (life === null || replica === null) return;
    world.tell(`${this.name} stops`);
    this.#countStatus();
    this.#replica = null;
    try {
      await replica.stop();
    } catch (error) {
      if (!life.isOver) world.violate("stop", `${this.name}: ${messageOf(error)}`);
    }
    if (life.isOver) return;
    life.isOver = true;
    this.#life = null;
    this.disk.endProcess();
    this.#restart();
  }

  #end(why: string): void {
    this.#options.world.tell(`${this.name} ends: ${why}`);
    this.#countStatus();
    const life = this.#life!;
    life.isOver = true;
    for (const session of life.sessions) session.close();
    this.#life = this.#replica = null;
  }

  #restart(): void {
    if (this.#isRestarting) return;
    this.#isRestarting = true;
    const { world } = this.#options;
    world.after(world.chance.random() * RESTART_MS_MAX, () => this.start());
  }

  // ── what it says ───────────────────────────────────────────────────────────────────────────────────────────────

  #changed(life: Life, changes: readonly RowChange[]): void {
    if (life.isOver) return;
    this.#options.world.tell(
      `${this.name} learns ${changes.map(({ key, row }) => row ? key : `-${key}`).join(" ")}`,
    );
    this.#options.onRows(this, changes);
    for (const change of changes) this.#route(change);
  }

  /** As the relay does after a take-over (edge/rows/shared-rows.ts): what is not there is forgotten. */
  #readAgain(): void {
    const view = this.disk.observe(readView);
    if (view === null) return;
    this.routed.clear();
    for (const [name, { row }] of view) if (row !== null) this.routed.set(name, row);
  }

  #route({ table, key, row }: RowChange): void {
    const name = nameOf({ table, key });
    if (row === null) this.routed.delete(name);
    else this.routed.set(name, JSON.stringify(row));
  }

  /** What it counted in the life that ends. */
  #countStatus(): void {
    try {
      if (this.#replica !== null) markStatus(this.#options.world.trace, this.#replica.status());
    } catch {
      // Its database has just been taken away.
    }
  }

  // ── its ports ──────────────────────────────────────────────────────────────────────────────────────────────────

  #world(life: Life): ReplicaWorld {
    const { world, disk, redis, faults } = this.#options;
    const snapshots = this.#options.snapshots(disk, () => life.isOver);
    return {
      streams: {
        connect: async () => {
          const connecting = connectFake(world, redis, faults, (made) => life.sessions.add(made));
          const session = await this.#during(life, connecting);
          const guarded: StreamSession = {
            regionStreams: () => this.#during(life, session.regionStreams()),
            info: (stream) => this.#during(life, session.info(stream)),
            read: (...asked) => this.#during(life, session.read(...asked)),
            close: () => {
              life.sessions.delete(session);
              session.close();
            },
          };
          return guarded;
        },
      },
      files: disk.filesFor(() => life.isOver, () => this.crash("within a write")),
      snapshots: {
        list: () => this.#during(life, snapshots.list()),
        fetch: (offer, path) => this.#during(life, snapshots.fetch(offer, path)),
      },
      nowMs: () => world.nowMs,
      wallMs: () => world.wallMs,
      random: world.chance.random,
      pause: (ms, signal) => this.#during(life, world.pause(ms, signal)),
    };
  }

  /** What comes back to a life that is over never comes; and each answer may be the last thing that it sees. */
  #during<T>(life: Life, answer: Promise<T>): Promise<T> {
    const { world, faults } = this.#options;
    return new Promise((resolve, reject) => {
      const goOn = (settle: () => void) => {
        if (life.isOver) return;
        if (!world.chance.happens(faults.crashRate)) return settle();
        world.trace.sometimes("an edge crashed at an await");
        this.crash("at an await");
      };
      answer.then((value) => goOn(() => resolve(value)), (error) => goOn(() => reject(error)));
    });
  }
}
