/**
 * What has changed and was not taken in yet, by key, so that a row that changes often while its reader is busy is read
 * once. Past its bound it forgets the keys and says "all": whoever is that far behind reads everything as fast. Pure.
 * The replicator has one, the supervisor one for each worker, and the relay one.
 */
import type { TableName } from "../../control/contract/rows.ts";

/** Keys are 30 to 300 bytes: some megabytes at most. */
export const KEYS_PENDING_MAX = 50_000;

/** What a replicator says has changed. It names rows and does not hold them: no order of messages brings an old one back. */
export interface News {
  readonly keys: readonly (readonly [TableName, readonly string[]])[];
  /** Anything may have changed. */
  readonly all: boolean;
  /** The file is another one: what stood in the old one and does not in the new one is gone. */
  readonly takenOver: boolean;
}

export class PendingChanges {
  readonly #keysMax: number;
  readonly #keys = new Map<TableName, Set<string>>();
  #size = 0;
  #all = false;
  #takenOver = false;
  /** Times that the bound was met. */
  overflows = 0;

  constructor(keysMax = KEYS_PENDING_MAX) {
    this.#keysMax = keysMax;
  }

  get size(): number {
    return this.#size;
  }
  get empty(): boolean {
    return this.#size === 0 && !this.#all && !this.#takenOver;
  }

  /** The file that is open is not the present one. */
  get takenOver(): boolean {
    return this.#takenOver;
  }

  add(table: TableName, key: string): void {
    if (this.#all) return;
    let keys = this.#keys.get(table);
    if (keys === undefined) this.#keys.set(table, keys = new Set());
    const before = keys.size;
    keys.add(key);
    this.#size += keys.size - before;
    if (this.#size <= this.#keysMax) return;
    this.overflows++;
    this.addAll();
  }

  addAll(): void {
    this.#all = true;
    this.#keys.clear();
    this.#size = 0;
  }

  addTakenOver(): void {
    this.#takenOver = true;
  }

  merge({ keys, all, takenOver }: News): void {
    if (all) this.addAll();
    for (const [table, some] of keys) for (const key of some) this.add(table, key);
    if (takenOver) this.addTakenOver();
  }

  /** All of it, and nothing is pending any more; null where nothing is. */
  take(): News | null {
    if (this.empty) return null;
    const news = { keys: this.#takeKeys(Infinity), all: this.#all, takenOver: this.#takenOver };
    this.#all = this.#takenOver = false;
    return news;
  }

  /** The keys that have waited longest of one table. */
  takeKeys(keysMax: number): News["keys"] {
    return this.#takeKeys(keysMax);
  }

  #takeKeys(keysMax: number): [TableName, string[]][] {
    const taken: [TableName, string[]][] = [];
    let room = keysMax;
    for (const [table, keys] of this.#keys) {
      if (room <= 0) break;
      let some: string[];
      if (keys.size <= room) {
        some = [...keys];
        this.#keys.delete(table);
      } else {
        some = [];
        for (const key of keys) {
          if (some.length >= room) break;
          some.push(key);
          keys.delete(key);
        }
      }
      room -= some.length;
      this.#size -= some.length;
      taken.push([table, some]);
    }
    return taken;
  }
}
