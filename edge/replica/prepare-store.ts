/** What a new generation begins with: the newest snapshot that can be used, or nothing. */
import type { Logger } from "pino";
import { messageOf } from "../../control/contract/errors.ts";
import { GLOBAL_STREAM, regionStream } from "../../control/contract/events.ts";
import type { SnapshotManifest } from "../../control/contract/snapshots.ts";
import type { ReplicaWorld, SnapshotOffer } from "./ports.ts";
import { REPLICA_SCHEMA, whyUnusable } from "./replica-schema.ts";
import { type ReplicaStore, storeIn } from "./replica-store.ts";
import { scrub } from "./scrub.ts";
import { isGap } from "./stream-gap.ts";
import type { ReplicaTuning } from "./tuning.ts";

export const SNAPSHOTS_TRIED_MAX = 3;
/** A database, its write-ahead log, and some air. */
const FREE_BYTES_FACTOR = 1.5;

export interface PrepareOptions {
  readonly world: ReplicaWorld;
  readonly tuning: ReplicaTuning;
  /** Empty: every region that has a stream. */
  readonly regions: readonly string[];
  readonly log: Logger;
  readonly signal: AbortSignal;
}

export interface PreparedStore {
  readonly store: ReplicaStore;
  /** `streams`, or who served the snapshot. */
  readonly from: string;
}

export function emptyStore({ world, tuning }: PrepareOptions): PreparedStore {
  return { store: storeIn(world.files.createNext(), tuning.history), from: "streams" };
}

/** @returns null where there is none that can be used */
export async function storeFromSnapshot(options: PrepareOptions): Promise<PreparedStore | null> {
  const { world, log, signal, tuning } = options;
  let offers: SnapshotOffer[] = [];
  try {
    offers = await unlessAborted(world.snapshots.list(), signal);
  } catch (error) {
    log.warn({ err: messageOf(error) }, "nobody can be asked for snapshots");
  }
  const usable = offers.filter(({ manifest }) => isUsable(manifest, world.wallMs(), tuning.tombstonesKeptMs));
  for (const offer of usable.slice(0, SNAPSHOTS_TRIED_MAX)) {
    if (signal.aborted) return null;
    try {
      return { store: await fetchOne(offer, options), from: offer.source };
    } catch (error) {
      const { source, manifest: { id } } = offer;
      log.warn({ source, snapshot: id, err: messageOf(error) }, "a snapshot cannot be used");
    }
  }
  return null;
}

/** Pure. Of an older one, the tombstones may be gone that came after it. */
export function isUsable(manifest: SnapshotManifest, nowMs: number, keptMs: number): boolean {
  return manifest.replica_schema === REPLICA_SCHEMA && manifest.created_ms > nowMs - keptMs;
}

async function fetchOne(offer: SnapshotOffer, options: PrepareOptions): Promise<ReplicaStore> {
  const { world, tuning, signal } = options;
  const { files, snapshots } = world;
  if (!await isReached(offer.manifest, options)) throw new Error("the streams no longer reach back to it");
  if (files.freeBytes() < offer.manifest.file_bytes * FREE_BYTES_FACTOR) {
    throw new Error(`there is no room for its ${offer.manifest.file_bytes} bytes`);
  }
  // What an earlier attempt left beside that path must not be taken for this file's log.
  files.createNext().close();
  await unlessAborted(snapshots.fetch(offer, files.nextPath), signal);
  const database = files.openNext();
  let store: ReplicaStore | null = null;
  try {
    const unusable = whyUnusable(database);
    if (unusable !== null) throw new Error(unusable.detail);
    store = storeIn(database, tuning.history);
    const { nowMs, wallMs, pause } = world;
    const read = await scrub({
      ...{ store, open: () => files.openNext(), positions: null, nowMs, wallMs, pause, signal, share: 1 },
    });
    if (read === null) throw new Error("broken off");
    if (read.findings.length > 0) throw new Error(read.findings[0]);
    store.keepRegions(options.regions, wallMs());
    return store;
  } catch (error) {
    if (store !== null) store.close();
    else database.close();
    throw error;
  }
}

/** Where Redis is away nobody knows; the follower will find out. */
async function isReached(
  { positions }: SnapshotManifest,
  { world, regions }: PrepareOptions,
): Promise<boolean> {
  try {
    const session = await world.streams.connect();
    try {
      for (const [stream, position] of Object.entries(positions)) {
        if (!isFollowed(stream, regions)) continue;
        if (isGap(position, await session.info(stream))) return false;
      }
    } finally {
      session.close();
    }
  } catch {
    return true;
  }
  return true;
}

function isFollowed(stream: string, regions: readonly string[]): boolean {
  return stream === GLOBAL_STREAM || regions.length === 0 ||
    regions.some((region) => stream === regionStream(region));
}

/** Who stops a replica does not wait for a download. */
function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const end = () => reject(new Error("broken off"));
    if (signal.aborted) return end();
    signal.addEventListener("abort", end, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", end));
  });
}
