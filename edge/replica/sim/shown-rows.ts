/**
 * The newest version of each key that one edge has ever shown, deletions too. It is forgotten where the edge's disk has
 * forgotten: a power cut, a damaged file.
 */
import { isNewer, type Version } from "../../../control/contract/events.ts";
import type { ReplicaView } from "./replica-view.ts";

export interface Shown {
  readonly table: string;
  readonly key: string;
  readonly version: Version;
  readonly isLive: boolean;
}

export class ShownRows {
  readonly #newest = new Map<string, Shown>();

  /** After it was checked. */
  see(view: ReplicaView): void {
    for (const [name, { table, key, version, row }] of view) {
      const known = this.#newest.get(name);
      if (known !== undefined && !isNewer(version, known.version)) continue;
      this.#newest.set(name, { table, key, version, isLive: row !== null });
    }
  }

  forget(): void {
    this.#newest.clear();
  }

  get(name: string): Shown | undefined {
    return this.#newest.get(name);
  }
  entries(): IterableIterator<[string, Shown]> {
    return this.#newest.entries();
  }
}
