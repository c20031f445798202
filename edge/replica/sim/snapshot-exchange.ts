/**
 * Snapshots between edges: a copy of one's database, with its positions, that another may begin from. The real builder
 * and the real downloads are tested over real sockets (`edge/snapshot/*.test.ts`); here their results meet the rest of
 * the world, late, broken off and old.
 */
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { SnapshotManifest } from "../../../control/contract/snapshots.ts";
import type { OpenDatabase } from "../../runtime/sqlite-port.ts";
import type { SnapshotOffer, SnapshotSources } from "../ports.ts";
import type { Disk } from "./disk.ts";
import type { World } from "./world.ts";

export const SNAPSHOTS_KEPT_MAX = 3;
const FETCH_MS_MAX = 2_000;

export interface SnapshotFaults {
  /** Of lists and downloads that fail. */
  failureRate: number;
}

interface Kept {
  readonly source: string;
  readonly path: string;
  readonly manifest: SnapshotManifest;
}

export class SnapshotExchange {
  readonly faults: SnapshotFaults = { failureRate: 0 };
  readonly #world: World;
  readonly #folder: string;
  readonly #open: OpenDatabase;
  readonly #kept: Kept[] = [];
  #made = 0;

  constructor(world: World, folder: string, open: OpenDatabase) {
    this.#world = world;
    this.#folder = folder;
    this.#open = open;
    mkdirSync(folder, { recursive: true });
  }

  /** Copies what an edge has now. */
  make(source: string, disk: Disk): void {
    const path = join(this.#folder, `${++this.#made}.sqlite`);
    const isCopied = disk.observe((database) => {
      database.exec(`VACUUM INTO '${path}'`);
      return true;
    });
    if (isCopied === null) return;
    this.#kept.unshift({ source, path, manifest: this.#manifest(path) });
    for (const old of this.#kept.splice(SNAPSHOTS_KEPT_MAX)) rmSync(old.path, { force: true });
    this.#world.tell(`${source} makes a snapshot`);
    this.#world.trace.sometimes("a snapshot was made");
  }

  /**
   * @param reader the edge that asks, on its own disk
   * @param isOver whether the process that asks has ended
   */
  sourcesFor(reader: string, disk: Disk, isOver: () => boolean): SnapshotSources {
    return {
      list: async () => {
        await this.#world.sleep(this.#world.chance.random() * 50);
        if (this.#world.chance.happens(this.faults.failureRate)) return [];
        return this.#kept.filter(({ source }) => source !== reader)
          .map(({ source, manifest }): SnapshotOffer => ({ source, manifest }));
      },
      fetch: async (offer, path) => {
        await this.#world.sleep(this.#world.chance.random() * FETCH_MS_MAX);
        // The next process may have taken that name into use meanwhile.
        if (isOver()) return new Promise(() => {});
        const kept = this.#kept.find(({ manifest }) => manifest.id === offer.manifest.id);
        if (kept === undefined || this.#world.chance.happens(this.faults.failureRate)) {
          this.#world.trace.sometimes("a snapshot could not be fetched");
          throw new Error(`the snapshot of ${offer.source} cannot be fetched`);
        }
        disk.put(kept.path, path);
        this.#world.tell(`${reader} fetches a snapshot of ${offer.source}`);
        this.#world.trace.sometimes("a snapshot was fetched");
      },
    };
  }

  #manifest(path: string): SnapshotManifest {
    const database = this.#open(path);
    const positions: Record<string, string> = {};
    for (const { name, position } of database.prepare("SELECT name, position FROM streams").all()) {
      positions[String(name)] = String(position);
    }
    const schema = Number(database.prepare("PRAGMA user_version").all()[0]?.user_version);
    database.close();
    const bytes = readFileSync(path);
    return {
      schema: 1,
      id: this.#made.toString(16).padStart(16, "0"),
      created_ms: this.#world.wallMs,
      replica_schema: schema,
      positions,
      rows: 0,
      file_bytes: bytes.length,
      bytes: bytes.length,
      sha256: createHash("sha256").update(bytes).digest("hex"),
    };
  }
}
