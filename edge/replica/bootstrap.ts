/**
 * Builds the next generation beside the serving one: from a snapshot or from nothing, then along the streams until it has
 * caught up and its owners' digests agree (judge-generation.ts). It does not take over by itself.
 */
import { messageOf } from "../../control/contract/errors.ts";
import type { PublisherKey } from "../../control/contract/signing.ts";
import { carryHistory, type EarlierHistory } from "./carry-history.ts";
import { changesOf, compareGenerations, type Comparison, type EarlierRows } from "./compare-generations.ts";
import { Generation } from "./generation.ts";
import { judgeGeneration, type OwnerState } from "./judge-generation.ts";
import { emptyStore, type PreparedStore, type PrepareOptions, storeFromSnapshot } from "./prepare-store.ts";
import type { OwnerVoices } from "./owner-voices.ts";
import type { RowChange } from "../routes/route-table.ts";
import type { FollowerTrouble } from "./follower.ts";

export interface BootstrapOptions extends PrepareOptions {
  readonly apiPublicKey: PublisherKey | null;
  readonly voices: OwnerVoices;
  /** What serves; null where nothing does. */
  readonly before: EarlierRows | null;
  /** Its rows cannot be trusted, so that digests which agree with its sums say nothing. */
  readonly isDamaged: () => boolean;
  readonly useSnapshots: boolean;
  /** To be called by what was built, once it serves. */
  readonly onChanges: (changes: RowChange[], of: Generation) => void;
  readonly onTrouble: (trouble: FollowerTrouble, of: Generation) => void;
  /** What it waits for; for people. */
  readonly onWait: (owner: string | null) => void;
}

export interface Built {
  readonly generation: Generation;
  readonly from: string;
  readonly comparison: Comparison;
  /** Earlier versions of rows that were taken along. */
  readonly pastCarried: number;
  readonly changes: RowChange[];
}

/** Rejects where this one came to nothing; then it leaves nothing open. */
export async function buildGeneration(options: BootstrapOptions): Promise<Built> {
  const { useSnapshots, world, signal, before } = options;
  const startedMs = world.wallMs();
  const prepared = (useSnapshots ? await storeFromSnapshot(options) : null) ?? emptyStore(options);
  if (signal.aborted) {
    prepared.store.close();
    throw new Error("broken off");
  }
  const attempt = new Attempt(options, prepared);
  try {
    const silent = await attempt.caughtUp();
    prepared.store.history.begin();
    const comparison = await compareGenerations({
      before: before ?? prepared.store,
      ...{ after: prepared.store, silent, publishedMsMax: startedMs, wallMs: world.wallMs },
      rest: () => attempt.rest(0),
    });
    const pastCarried = await attempt.carryPast();
    attempt.assertWhole();
    const changes = changesOf(comparison, prepared.store);
    attempt.serves = true;
    return { generation: attempt.generation, from: prepared.from, comparison, pastCarried, changes };
  } catch (error) {
    await attempt.generation.stop();
    throw error;
  }
}

class Attempt {
  readonly generation: Generation;
  serves = false;
  readonly #options: BootstrapOptions;
  #broken: string | null = null;
  /** How new the serving one's rows were when this was begun. */
  readonly #newestMs = new Map<string, number>();

  constructor(options: BootstrapOptions, { store }: PreparedStore) {
    this.#options = options;
    const { world, regions, apiPublicKey, log, voices, onChanges, onTrouble } = options;
    for (const [owner, { newestMs }] of this.#owners()) this.#newestMs.set(owner, newestMs);
    this.generation = new Generation({
      ...{ store, world, regions, apiPublicKey, log, voices },
      onChanges: (changes, of) => this.serves ? onChanges(changes, of) : undefined,
      onTrouble: (trouble, of) => this.serves ? onTrouble(trouble, of) : this.#trouble(trouble),
    });
    store.history.hold();
    this.generation.follower.start();
  }

  /** @returns owners that said nothing */
  async caughtUp(): Promise<ReadonlySet<string>> {
    const { world, tuning, onWait } = this.#options;
    const { follower, store } = this.generation;
    let sinceMs: number | null = null;
    for (;;) {
      if (!follower.connected) sinceMs = null;
      else if (follower.caughtUpMs !== null) sinceMs ??= world.nowMs();
      if (sinceMs !== null) {
        const followedMs = world.nowMs() - sinceMs;
        const judged = judgeGeneration(this.#serving(), store.owners(), followedMs, tuning.silenceGraceMs);
        onWait(judged.verdict === "wait" ? judged.owner : null);
        if (judged.verdict === "take_over") return judged.silent;
        if (judged.verdict === "give_up") throw new Error(judged.reason);
      }
      await this.rest(tuning.judgeIntervalMs);
    }
  }

  /** What a damaged file remembers is not to be trusted either. @returns how many versions */
  async carryPast(): Promise<number> {
    const { before, isDamaged, world: { nowMs, wallMs }, tuning: { history: limits }, log } = this.#options;
    if (isDamaged() || limits.rowsMax === 0 || before?.pastPage === undefined) return 0;
    const from = before as EarlierHistory;
    const rest = () => this.rest(0);
    const { versions, unreadable } = await carryHistory({
      ...{ from, to: this.generation.store, limits, nowMs, wallMs, rest },
    });
    if (unreadable !== null) {
      log.warn({ err: unreadable }, "not all of the history of the earlier generation could be taken along");
    }
    return versions;
  }

  async rest(ms: number): Promise<void> {
    const { world, signal } = this.#options;
    await world.pause(ms, signal);
    if (signal.aborted) throw new Error("broken off");
    this.assertWhole();
  }

  assertWhole(): void {
    if (this.#broken !== null) throw new Error(this.#broken);
  }

  #serving(): ReadonlyMap<string, OwnerState> {
    const isDamaged = this.#options.isDamaged();
    return new Map(
      [...this.#owners()].map(([owner, state]) => {
        const digest = isDamaged ? "none" : state.digest;
        return [owner, { ...state, digest, digestMs: this.#newestMs.get(owner) ?? 0 }];
      }),
    );
  }

  #owners(): ReadonlyMap<string, OwnerState> {
    const { before, log } = this.#options;
    try {
      return before?.owners() ?? new Map();
    } catch (error) {
      log.warn({ err: messageOf(error) }, "the serving generation cannot be read");
      return new Map();
    }
  }

  /** A digest that differs is judged with the others; what follows on a gap or on damage is not worth waiting for. */
  #trouble(trouble: FollowerTrouble): void {
    if (trouble.kind === "gap") this.#broken = `a gap in ${trouble.stream} meanwhile`;
    else if (trouble.kind === "corrupt") this.#broken = trouble.detail;
  }
}
