/** What goes wrong, one thing at a time: drawn from the plan's kinds, and all of it undone when quiet begins. */
import type { World } from "./world.ts";
import type { EdgeFaults, EdgeModel } from "./edge-model.ts";
import type { FakeRedis } from "./fake-redis.ts";
import type { NetworkFaults } from "./fake-session.ts";
import type { FaultKind, Plan } from "./plan.ts";
import { type Poison, poisonEntry, POISONS } from "./poison.ts";
import type { PublisherModel } from "./publisher-model.ts";
import { makeRow, pickPlace } from "./row-model.ts";
import type { SnapshotExchange } from "./snapshot-exchange.ts";
import type { SigningKey } from "../../../control/contract/signing.ts";

export interface ChaosOptions {
  readonly world: World;
  readonly plan: Plan;
  readonly heals: boolean;
  readonly redis: FakeRedis;
  readonly publishers: readonly {
    readonly model: PublisherModel;
    readonly stream: string;
    readonly region: string;
  }[];
  readonly edges: readonly EdgeModel[];
  readonly edgeFaults: EdgeFaults;
  readonly publisherFaults: NetworkFaults;
  readonly snapshots: SnapshotExchange;
  readonly forger: SigningKey;
  /** An edge's disk has lost what it knew. */
  readonly onForgotten: (edge: EdgeModel) => void;
}

/** Longer than any client waits for an answer, at times. */
const STALL_MS_MAX = 8_000;
const AWAY_MS_MAX = 10_000;
const DISK_FAULT_MS_MAX = 5_000;
const PUBLISHER_DOWN_MS_MAX = 5_000;
const LOST_APPENDS_MAX = 30;
const CLOCK_BEHIND_MS_MAX = 2_000;
const SNAPSHOT_INTERVAL_MS = 7_000;

export class Chaos {
  readonly #options: ChaosOptions;
  readonly #acts: Partial<Record<FaultKind, () => void>>;
  #isOver = false;

  constructor(options: ChaosOptions) {
    this.#options = options;
    this.#acts = this.#allActs();
  }

  start(): void {
    const { plan, heals, edges, edgeFaults, publisherFaults, snapshots } = this.#options;
    const has = (kind: FaultKind) => plan.faults.has(kind);
    if (has("network")) edgeFaults.lossRate = publisherFaults.lossRate = 0.01;
    if (has("crash at awaits")) edgeFaults.crashRate = 0.005;
    if (heals && has("snapshot failures")) snapshots.faults.failureRate = 0.3;
    for (const { disk } of edges) {
      if (has("crash within writes")) disk.faults.killRate = 0.002;
      if (heals && has("disk failures")) disk.faults.failureRate = 0.02;
    }
    const acts = [...plan.faults].filter((kind) => kind in this.#acts);
    if (acts.length > 0) this.#each(plan.faultMs, () => this.#acts[this.#options.world.chance.pick(acts)]!());
    this.#each(SNAPSHOT_INTERVAL_MS, () => this.#makeSnapshot());
  }

  /** Everything works again, and goes on doing so. */
  end(): void {
    const { redis, edges, edgeFaults, publisherFaults, publishers, snapshots } = this.#options;
    this.#isOver = true;
    redis.recover();
    edgeFaults.lossRate =
      edgeFaults.crashRate =
      publisherFaults.lossRate =
      snapshots.faults.failureRate =
        0;
    for (const { disk } of edges) {
      Object.assign(disk.faults, { full: false, lockedPath: null, failureRate: 0, killRate: 0 });
    }
    for (const { model } of publishers) model.start();
  }

  /** In no step with anything else. */
  #each(ms: number, act: () => void): void {
    const { world } = this.#options;
    world.after(2 * ms * world.chance.random(), () => {
      if (this.#isOver) return;
      act();
      this.#each(ms, act);
    });
  }
  #later(ms: number, act: () => void): void {
    this.#options.world.after(ms, () => this.#isOver || act());
  }

  #makeSnapshot(): void {
    const { world, edges, snapshots } = this.#options;
    const edge = world.chance.pick(edges);
    if (edge.isUp) snapshots.make(edge.name, edge.disk);
  }

  #allActs(): Partial<Record<FaultKind, () => void>> {
    const { world, redis, edges, publishers, heals, onForgotten } = this.#options;
    const { chance, trace } = world;
    const some = (ms: number) => chance.random() * ms;
    const acts: Partial<Record<FaultKind, () => void>> = {
      "kill connections": () => {
        world.tell("Redis ends all connections");
        redis.kill();
      },
      "stall": () => {
        const ms = some(STALL_MS_MAX);
        world.tell(`Redis stalls for ${Math.round(ms)} ms`);
        redis.stall(ms);
      },
      "away": () => {
        world.tell("Redis is away");
        redis.leave(some(AWAY_MS_MAX));
      },
      "fail over": () => this.#failOver(0),
      "empty": () => {
        if (!chance.happens(0.2)) return;
        world.tell("Redis is empty");
        redis.empty();
      },
      "delete a stream": () => {
        const name = redis.names[0] === undefined ? null : chance.pick(redis.names);
        if (name === null || !chance.happens(0.3)) return;
        world.tell(`${name} is deleted`);
        redis.delete(name);
      },
      "trim": () => {
        const name = redis.names[0] === undefined ? null : chance.pick(redis.names);
        if (name === null) return;
        const left = chance.between(0, redis.length(name));
        world.tell(`${name} is trimmed to ${left}`);
        if (redis.trim(name, left) > 0) trace.sometimes("a stream was trimmed");
      },
      "crash": () => chance.pick(edges).crash("it is killed"),
      "cut power": () => chance.pick(edges).cutPower(),
      "stop": () => {
        const edge = chance.pick(edges);
        if (!edge.isUp) return;
        trace.sometimes("an edge stopped and began again");
        void edge.stop();
      },
      "disk full": () => {
        const { faults } = chance.pick(edges).disk;
        faults.full = true;
        world.tell("a disk is full");
        this.#later(some(DISK_FAULT_MS_MAX), () => faults.full = false);
      },
      "damage the head": () => {
        const edge = chance.pick(edges);
        if (!chance.happens(0.2)) return;
        edge.crash("its disk is about to be damaged");
        if (!edge.disk.damageHead()) return;
        world.tell(`${edge.name}'s file is damaged`);
        trace.sometimes("a database's head was overwritten");
        onForgotten(edge);
      },
      "publisher crash": () => {
        const { model } = chance.pick(publishers);
        model.crash();
        this.#later(some(PUBLISHER_DOWN_MS_MAX), () => model.start());
      },
      "new epoch": () => {
        const { model } = chance.pick(publishers);
        model.crash();
        model.state.beginEpoch();
        trace.sometimes("an owner began a new epoch");
        this.#later(some(PUBLISHER_DOWN_MS_MAX), () => model.start());
      },
      "poison": () => this.#poison(chance.pick(POISONS)),
    };
    if (!heals) return acts;
    return {
      ...acts,
      "clock behind": () => {
        trace.sometimes("a new primary's clock was behind");
        this.#failOver(-chance.between(1, CLOCK_BEHIND_MS_MAX));
      },
      "damage a row": () => {
        const edge = chance.pick(edges);
        if (!edge.isUp || !edge.disk.damageRow()) return;
        world.tell(`a row in ${edge.name}'s file is damaged`);
        trace.sometimes("a row was damaged in a file");
        onForgotten(edge);
      },
      "disk locked": () => {
        const { disk } = chance.pick(edges);
        disk.faults.lockedPath = disk.presentPath();
        world.tell("a database is locked");
        this.#later(some(DISK_FAULT_MS_MAX), () => disk.faults.lockedPath = null);
      },
      "forged signature": () => this.#options.plan.isSigned && this.#poison("forged signature"),
      "restore": () => {
        const { model } = chance.pick(publishers);
        if (chance.happens(0.5)) return model.state.backUp();
        model.restore();
        this.#later(some(PUBLISHER_DOWN_MS_MAX), () => model.start());
      },
    };
  }

  #failOver(clockMs: number): void {
    const { world, redis } = this.#options;
    const lost = world.chance.between(0, LOST_APPENDS_MAX);
    world.tell(`Redis fails over and loses ${lost} appends`);
    if (lost > 0) world.trace.sometimes("an acknowledged append was lost");
    redis.failOver(lost, clockMs);
  }

  #poison(kind: Poison): void {
    const { world, redis, publishers, forger } = this.#options;
    const { model, stream, region } = world.chance.pick(publishers);
    const place = pickPlace(model.state.owner, world.chance);
    const row = makeRow(place, region, world.chance);
    world.tell(`somebody appends ${kind}`);
    const victim = { owner: model.state.owner, ...place, row };
    redis.append(stream, poisonEntry(kind, stream, victim, forger, world.chance));
  }
}
