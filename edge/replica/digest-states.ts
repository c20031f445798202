/** Each owner's newest digest, and what came of it: kept in the file, so that a new process knows it. */
import type { StateDigest } from "../../control/contract/events.ts";
import type { SqlDatabase, SqlStatement } from "../runtime/sqlite-port.ts";
import type { DigestVerdict } from "./judge-generation.ts";

export interface DigestState {
  readonly stream: string;
  readonly entryId: string;
  /** By the owner's clock. */
  readonly publishedMs: number;
  /** Its rows of earlier epochs are of a history that was lost. */
  readonly floorEpoch: number;
  readonly agrees: boolean;
  /** By ours. */
  readonly atMs: number;
  readonly agreedMs: number | null;
  readonly differedMs: number | null;
}

export class DigestStates {
  readonly #database: SqlDatabase;
  readonly #write: SqlStatement;
  readonly #states = new Map<string, DigestState>();
  /** Compared since this was opened. */
  readonly #seen = new Set<string>();

  constructor(database: SqlDatabase) {
    this.#database = database;
    this.#write = database.prepare(`
      INSERT OR REPLACE INTO digests
        (owner, stream, entry_id, published_ms, floor_epoch, agrees, at_ms, agreed_ms, differed_ms)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`);
    this.reload();
  }

  reload(): void {
    this.#states.clear();
    for (const each of this.#database.prepare("SELECT * FROM digests").all()) {
      this.#states.set(String(each.owner), {
        stream: String(each.stream),
        entryId: String(each.entry_id),
        publishedMs: Number(each.published_ms),
        floorEpoch: Number(each.floor_epoch),
        agrees: each.agrees === 1,
        atMs: Number(each.at_ms),
        agreedMs: each.agreed_ms === null ? null : Number(each.agreed_ms),
        differedMs: each.differed_ms === null ? null : Number(each.differed_ms),
      });
    }
  }

  floorOf(owner: string): number {
    return this.#states.get(owner)?.floorEpoch ?? 0;
  }

  /** Inside the transaction that took the rows before it. @returns the state before */
  record(
    stream: string,
    entryId: string,
    digest: StateDigest,
    agrees: boolean,
    nowMs: number,
  ): DigestState | null {
    const before = this.#states.get(digest.owner) ?? null;
    const state: DigestState = {
      ...{ stream, entryId, agrees, publishedMs: digest.published_ms, atMs: nowMs },
      floorEpoch: Math.max(digest.floor_epoch, before?.floorEpoch ?? 0),
      agreedMs: agrees ? nowMs : before?.agreedMs ?? null,
      differedMs: agrees ? before?.differedMs ?? null : nowMs,
    };
    this.#states.set(digest.owner, state);
    this.#seen.add(digest.owner);
    this.#write.run(
      ...[digest.owner, stream, entryId, state.publishedMs, state.floorEpoch, agrees ? 1 : 0, nowMs],
      ...[state.agreedMs, state.differedMs],
    );
    return before;
  }

  /** Of what was compared since the file was opened. */
  verdictOf(owner: string): DigestVerdict {
    const state = this.#states.get(owner);
    return state === undefined || !this.#seen.has(owner) ? "none" : state.agrees ? "agrees" : "differs";
  }

  /** By the owner's clock; 0 where there was none. */
  publishedMsOf(owner: string): number {
    return this.#states.get(owner)?.publishedMs ?? 0;
  }

  /** When an owner published the newest digest that we agreed with; -Infinity where we do not agree. */
  agreedUpToMs(owner: string): number {
    const state = this.#states.get(owner);
    return state?.agrees === true ? state.publishedMs : -Infinity;
  }

  get all(): ReadonlyMap<string, DigestState> {
    return this.#states;
  }
}
