/**
 * One seed from its beginning to its end: a world is made, lives through faults for a while, is left in quiet, and is
 * looked at all the time.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { GLOBAL_STREAM, regionStream } from "../../../control/contract/events.ts";
import type { RowOf } from "../../../control/contract/rows.ts";
import type { SigningKey } from "../../../control/contract/signing.ts";
import type { OpenDatabase } from "../../runtime/sqlite-port.ts";
import { Chaos } from "./chaos.ts";
import { Disk } from "./disk.ts";
import { type EdgeFaults, EdgeModel } from "./edge-model.ts";
import { FakeRedis } from "./fake-redis.ts";
import type { NetworkFaults } from "./fake-session.ts";
import { type Features, featuresOf } from "./features.ts";
import { holdStatements } from "./held-statements.ts";
import { Observer } from "./observer.ts";
import { OwnerState } from "./owner-state.ts";
import { drawPlan, type FaultKind, type Plan } from "./plan.ts";
import { PublisherModel, type PublisherOptions } from "./publisher-model.ts";
import { seededKey } from "./seeded-key.ts";
import { SnapshotExchange } from "./snapshot-exchange.ts";
import { Truth } from "./truth.ts";
import { World } from "./world.ts";

/** Virtual seconds of faults, unless something else is asked for. */
export const TICKS = 40;
/** An owner's next digest and full publication, and then a minute, in which whatever is wrong is found and healed. */
export const QUIET_MS = 80_000;
const TICK_MS = 1_000;
const QUIET_TICK_MS = 5_000;
const START_MS_MAX = 3_000;

export interface RunOptions {
  readonly seed: number;
  readonly openDatabase: OpenDatabase;
  /** @default TICKS */
  readonly ticks?: number;
  /** Instead of those that the seed draws. */
  readonly faults?: readonly FaultKind[];
  /** @default at_connects_too */
  readonly looks?: PublisherOptions["looks"];
}

export interface RunReport {
  readonly seed: number;
  readonly hash: string;
  readonly marks: ReadonlyMap<string, number>;
  readonly failure: { readonly checker: string; readonly message: string } | null;
  /** The last lines of what happened. */
  readonly lines: readonly string[];
  readonly features: Features;
  readonly virtualMs: number;
}

export async function run(options: RunOptions): Promise<RunReport> {
  const folder = mkdtempSync(join(tmpdir(), "godwit-sim-"));
  try {
    return await runIn(folder, options);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function runIn(folder: string, options: RunOptions): Promise<RunReport> {
  const { seed, ticks = TICKS, looks = "at_connects_too" } = options;
  const openDatabase = holdStatements(options.openDatabase);
  const world = new World(seed);
  const drawn = drawPlan(world.chance.fork());
  const plan = options.faults === undefined ? drawn : { ...drawn, faults: new Set(options.faults) };
  const redis = new FakeRedis(world);
  const publisherFaults: NetworkFaults = { lossRate: 0 };
  const edgeFaults: EdgeFaults = { lossRate: 0, crashRate: 0 };
  const publishers = makePublishers(world, plan, redis, publisherFaults, looks);
  const truth = new Truth(publishers.map(({ model, stream }) => ({ state: model.state, stream })));
  const snapshots = new SnapshotExchange(world, join(folder, "snapshots"), openDatabase);
  const observer = new Observer(world, truth);
  const edges = plan.edges.map((regions, i) => {
    const name = `edge-${i + 1}`;
    mkdirSync(join(folder, name));
    return new EdgeModel({
      ...{ name, world, redis, regions, faults: edgeFaults },
      disk: new Disk(world, join(folder, name), openDatabase),
      snapshots: (disk, isOver) => snapshots.sourcesFor(name, disk, isOver),
      apiPublicKey: publishers[0]!.key?.publicKey ?? null,
      log: pino({ level: "silent" }),
      onRows: (edge, changes) => observer.rows(edge, changes),
      onFile: (edge) => observer.file(edge),
      onPowerCut: (edge) => observer.forget(edge),
    });
  });
  // Not in step, as their digests would be then.
  for (const { model } of publishers) world.after(world.chance.random() * START_MS_MAX, () => model.start());
  for (const edge of edges) edge.start();
  const features = featuresOf(edges[0]!.status() ?? {});
  const { heals } = features;
  const forger = seededKey(world.chance.fork());
  const chaos = new Chaos({
    ...{ world, plan, heals, redis, publishers, edges, edgeFaults, publisherFaults, snapshots, forger },
    onForgotten: (edge) => observer.forget(edge),
  });
  world.tell(`faults: ${[...plan.faults].join(", ") || "none"}`);
  chaos.start();

  let isQuiet = false;
  const change = () => {
    if (isQuiet) return;
    world.chance.pick(publishers).model.change();
    world.after(2 * plan.changeMs * world.chance.random(), change);
  };
  change();
  // An edge that builds another generation follows the streams twice.
  const clients = publishers.length + 2 * edges.length;
  for (let tick = 1; tick <= ticks && world.violation === null; tick++) {
    await world.runUntil(tick * TICK_MS);
    observer.tick(edges, redis, clients);
  }
  world.tell("quiet begins");
  isQuiet = true;
  chaos.end();
  const quietMs = world.nowMs;
  for (let ms = QUIET_TICK_MS; ms <= QUIET_MS && world.violation === null; ms += QUIET_TICK_MS) {
    await world.runUntil(quietMs + ms);
    observer.tick(edges, redis, clients);
    observer.quiet(edges, ms);
  }
  if (world.violation === null) observer.end(edges);
  for (const edge of edges) edge.finish();
  const { violation, trace } = world;
  for (const edge of edges) edge.disk.endProcess();
  return {
    ...{ seed, features, hash: trace.hash, marks: trace.marks, lines: trace.lines, virtualMs: world.nowMs },
    failure: violation === null ? null : { checker: violation.checker, message: violation.message },
  };
}

/** The api first. */
function makePublishers(
  world: World,
  plan: Plan,
  redis: FakeRedis,
  faults: NetworkFaults,
  looks: PublisherOptions["looks"],
) {
  const owners = [
    { owner: "api", stream: GLOBAL_STREAM, region: "" },
    ...plan.workers.map(({ host, region }) => ({
      ...{ owner: `worker:${host}`, stream: regionStream(region), region },
    })),
  ];
  const made = owners.map(({ owner, stream, region }) => {
    const key: SigningKey | null = plan.isSigned ? seededKey(world.chance.fork()) : null;
    const { streamEntriesMax } = plan;
    const state = new OwnerState(owner);
    const options = { world, redis, faults, state, stream, region, key, streamEntriesMax, looks };
    return { model: new PublisherModel(options), stream, region, key };
  });
  for (const { model, key } of made.slice(1)) {
    if (key === null) continue;
    const { owner } = model.state;
    const row = { owner, public_key: key.publicKey } as RowOf<"publishers">;
    made[0]!.model.state.change({ table: "publishers", key: owner }, row, world.wallMs);
  }
  return made;
}
