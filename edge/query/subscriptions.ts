/**
 * All subscriptions of a replica. One statement at a time is looked at again, and after each there is a rest of three times
 * what it took: however much changes and however many subscriptions there are, they take a quarter of one core at most,
 * and what changes meanwhile is seen by the next look.
 */
import { GodwitError, messageOf } from "../../control/contract/errors.ts";
import { pause } from "../replica/pause.ts";
import { retryMs } from "../rows/reading-pace.ts";
import type { QueryLimits } from "./query-limits.ts";
import type { Answer } from "./run-statement.ts";
import { GONE, type NumberedChange, Subscription, type Watched, type Watcher } from "./subscription.ts";

const REST_SHARE = 3;
const REST_MS_MIN = 5;

export interface SubscriptionsOptions {
  readonly limits: QueryLimits;
  /** One at a time. */
  readonly run: (watched: Watched) => Promise<Answer>;
  readonly nowMs: () => number;
  readonly random: () => number;
}

export interface EndedWatcher extends Watcher {
  ended(error: GodwitError): void;
}

export class Subscriptions {
  readonly #options: SubscriptionsOptions;
  readonly #all = new Map<string, Subscription>();
  /** Those whose first rows are being read. */
  readonly #starting = new Map<string, Promise<Subscription>>();
  readonly #due = new Set<string>();
  readonly #stop = new AbortController();
  #working: Promise<void> | null = null;
  #lane: Promise<unknown> = Promise.resolve();
  evaluations = 0;

  constructor(options: SubscriptionsOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#all.size;
  }
  get watchers(): number {
    let many = 0;
    for (const { watchers } of this.#all.values()) many += watchers.size;
    return many;
  }

  /**
   * @param begin writes what comes before the changes, in the same turn in which they begin
   * @throws GodwitError `query.*`
   */
  async join(
    watched: Watched,
    watcher: EndedWatcher,
    begin: (subscription: Subscription) => void,
  ): Promise<Subscription> {
    const name = nameOf(watched);
    for (;;) {
      const subscription = await this.#find(name, watched);
      if (this.#all.get(name) !== subscription) continue;
      this.#enter(subscription, watcher, begin);
      return subscription;
    }
  }

  /** As it was left, with the changes since; null where that is not known any more. */
  rejoin(
    watched: Watched,
    cursor: string,
    watcher: EndedWatcher,
    begin: (subscription: Subscription, since: readonly NumberedChange[]) => void,
  ): Subscription | null {
    const name = nameOf(watched);
    const subscription = this.#starting.has(name) ? undefined : this.#all.get(name);
    const since = subscription?.since(cursor) ?? GONE;
    if (subscription === undefined || since === GONE) return null;
    this.#enter(subscription, watcher, () => begin(subscription, since));
    return subscription;
  }

  #enter(subscription: Subscription, watcher: EndedWatcher, begin: (s: Subscription) => void): void {
    subscription.watchers.add(watcher);
    subscription.leftMs = null;
    begin(subscription);
  }

  leave(subscription: Subscription, watcher: EndedWatcher): void {
    subscription.watchers.delete(watcher);
    if (subscription.watchers.size === 0) subscription.leftMs = this.#options.nowMs();
  }

  /** @param tables null: all may have changed */
  changed(tables: ReadonlySet<string> | null): void {
    for (const [name, subscription] of this.#all) {
      if (tables === null || subscription.reads(tables)) this.#due.add(name);
    }
    this.#working ??= this.#work().finally(() => this.#working = null);
  }

  /** Those that nobody came back to. */
  sweep(): void {
    const { nowMs, limits } = this.#options;
    for (const [name, { leftMs }] of this.#all) {
      if (leftMs !== null && nowMs() - leftMs > limits.retainedMsMax) this.#forget(name);
    }
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#working;
  }

  /** One that is there, or a new one with its first rows. */
  async #find(name: string, watched: Watched): Promise<Subscription> {
    const starting = this.#starting.get(name);
    if (starting !== undefined) return await starting;
    const there = this.#all.get(name);
    if (there !== undefined) {
      // A snapshot is of now, so what is due comes first.
      if (this.#due.has(name)) await this.#look(name);
      return there;
    }
    const begun = this.#begin(name, watched).finally(() => this.#starting.delete(name));
    this.#starting.set(name, begun);
    return await begun;
  }

  async #begin(name: string, watched: Watched): Promise<Subscription> {
    const { limits } = this.#options;
    if (this.#all.size >= limits.subscriptionsMax) this.#makeRoom();
    const subscription = new Subscription(watched, limits.changesKeptMax, limits.changesKeptBytesMax);
    // There from now on, so that a change during the first look is followed by another.
    this.#all.set(name, subscription);
    try {
      await this.#evaluate(subscription);
      subscription.leftMs = this.#options.nowMs();
      return subscription;
    } catch (error) {
      this.#forget(name);
      if (error instanceof RangeError) throw keyUnknown(error);
      throw error;
    }
  }

  #makeRoom(): void {
    let oldest: string | null = null, leftMs = Infinity;
    for (const [name, each] of this.#all) {
      if (each.leftMs !== null && each.leftMs < leftMs) [oldest, leftMs] = [name, each.leftMs];
    }
    if (oldest === null) {
      throw new GodwitError("query.busy", `There are ${this.#all.size} subscriptions, as many as may be`, {
        fault: "us",
        retryable: true,
        hint: "end one, or watch what another client watches with the same statement",
      });
    }
    this.#forget(oldest);
  }

  #forget(name: string): void {
    this.#all.delete(name);
    this.#due.delete(name);
  }

  async #work(): Promise<void> {
    const { nowMs, random } = this.#options;
    const { signal } = this.#stop;
    let failures = 0;
    while (!signal.aborted) {
      const [name] = this.#due;
      if (name === undefined) return;
      const startedMs = nowMs();
      const readable = await this.#look(name);
      failures = readable ? 0 : failures + 1;
      const tookMs = nowMs() - startedMs;
      await pause(readable ? Math.max(REST_MS_MIN, tookMs * REST_SHARE) : retryMs(failures, random), signal);
    }
  }

  /** @returns false where the replica could not be read: it is looked at again */
  async #look(name: string): Promise<boolean> {
    const subscription = this.#all.get(name);
    this.#due.delete(name);
    if (subscription === undefined) return true;
    try {
      await this.#evaluate(subscription);
      return true;
    } catch (error) {
      if (this.#all.get(name) !== subscription) return true;
      if (error instanceof GodwitError && error.retryable) {
        this.#due.add(name);
        return false;
      }
      this.#forget(name);
      const why = error instanceof GodwitError
        ? error
        : new GodwitError("query.runner_ended", messageOf(error), { fault: "us", retryable: true });
      for (const watcher of subscription.watchers) (watcher as EndedWatcher).ended(why);
      return true;
    }
  }

  /** In turn, since answers are taken in the order in which the file was read. */
  #evaluate(subscription: Subscription): Promise<void> {
    const turn = this.#lane.then(async () => {
      this.evaluations++;
      subscription.take(await this.#options.run(subscription.watched));
    });
    this.#lane = turn.catch(() => {});
    return turn;
  }
}

function nameOf({ sql, params, key }: Watched): string {
  return JSON.stringify([sql, params, key]);
}

function keyUnknown(error: RangeError): GodwitError {
  return new GodwitError("query.body_invalid", `Cannot tell rows apart by that key: ${error.message}`, {
    fault: "client",
    hint: "`key` lists columns of the answer",
  });
}
