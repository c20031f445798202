/**
 * A replica of the state streams: a file that a follower keeps up to date, and word of what changed. It finds out by
 * itself when the file is not what it should be, and builds another one beside it that takes over. It touches whoever
 * routes by it in `onChanges` and `onTakeOver` alone, so that it can be a process of its own.
 */
import type { Logger } from "pino";
import { messageOf } from "../../control/contract/errors.ts";
import { TABLE_NAMES, type TableName } from "../../control/contract/rows.ts";
import type { PublisherKey } from "../../control/contract/signing.ts";
import type { RowOrigin } from "../rows/row-source.ts";
import type { RowChange } from "../routes/route-table.ts";
import type { SqlDatabase } from "../runtime/sqlite-port.ts";
import { buildGeneration, type Built } from "./bootstrap.ts";
import { type EarlierRows, rowsOfAnySchema } from "./compare-generations.ts";
import type { FollowerTrouble } from "./follower.ts";
import { Generation } from "./generation.ts";
import { Healer } from "./healer.ts";
import type { BootstrapReport, Incident, IncidentKind } from "./incidents.ts";
import { IncidentLog } from "./incident-log.ts";
import { openStore } from "./open-store.ts";
import { OwnerVoices } from "./owner-voices.ts";
import type { ReplicaWorld } from "./ports.ts";
import { storeFromSnapshot } from "./prepare-store.ts";
import { type ReplicaStatus, statusOf } from "./replica-status.ts";
import type { RowAt } from "./row-history.ts";
import { scrub, type ScrubResult } from "./scrub.ts";
import { SCRUB_PASS_SHARE } from "./scrub-pace.ts";
import { REPLICA_TUNING, type ReplicaTuning } from "./tuning.ts";

export type { ReplicaStatus } from "./replica-status.ts";

export interface ReplicaOptions {
  readonly world: ReplicaWorld;
  /** Empty: every region that has a stream. */
  readonly regions: readonly string[];
  /** Signs what owner `api` publishes. Null: signatures are not looked at. */
  readonly apiPublicKey: PublisherKey | null;
  readonly log: Logger;
  readonly onChanges: (changes: RowChange[]) => void;
  /** Another generation of the file is the present one: readers open it anew. What differs comes by `onChanges`. */
  readonly onTakeOver?: () => void;
  /** @default REPLICA_TUNING */
  readonly tuning?: Partial<ReplicaTuning>;
}

export class Replica {
  readonly #options: ReplicaOptions;
  readonly #tuning: ReplicaTuning;
  readonly #healer: Healer;
  readonly #incidents: IncidentLog;
  readonly #voices: OwnerVoices;
  readonly #stop = new AbortController();
  /** Null until the first one of this schema is built. */
  #generation: Generation | null = null;
  /** A file of another schema that serves until then. */
  #earlier: SqlDatabase | null = null;
  #fresh: boolean;
  /** The serving file is not to be trusted. */
  #damaged = false;
  #bootstraps = 0;
  #lastBootstrap: BootstrapReport | null = null;
  #lastScrub: ScrubResult & { readonly atMs: number } | null = null;
  readonly #startedMs: number;
  #background: Promise<unknown>[] = [];
  #caughtUp: (() => void)[] = [];

  constructor(options: ReplicaOptions) {
    this.#options = options;
    this.#tuning = { ...REPLICA_TUNING, ...options.tuning };
    const { world, log } = options;
    this.#startedMs = world.nowMs();
    this.#voices = new OwnerVoices(world);
    this.#healer = new Healer({
      ...{ world, log, tuning: this.#tuning, signal: this.#stop.signal },
      heal: (why, useSnapshots) => this.#heal(why, useSnapshots),
    });
    const { store, earlier, unusable, fresh } = openStore(world.files, this.#tuning.history);
    this.#earlier = earlier;
    this.#fresh = fresh;
    this.#incidents = new IncidentLog(log, store);
    if (store !== null) {
      if (store.followedMoreThan(options.regions)) store.keepRegions(options.regions, world.wallMs());
      this.#generation = this.#generationOf(store);
    }
    if (unusable === null) return;
    this.#incidents.add({
      ...{ at_ms: world.wallMs(), kind: unusable.kind, detail: unusable.detail },
      healed_ms: earlier === null ? world.wallMs() : null,
    });
  }

  /** Everything that was applied in earlier lives of this edge. */
  stored(): RowChange[] {
    const store = this.#generation?.store;
    if (store === undefined) return [];
    return TABLE_NAMES.flatMap((table) =>
      store.rows(table).map(({ key, row }) => ({ table, key, row }) as RowChange)
    );
  }

  start(): void {
    this.#background.push(this.#begin(), this.#scrubNowAndThen());
  }

  /** Resolves once a read has found nothing new, or could not be made. */
  caughtUp(): Promise<void> {
    if (this.#generation !== null && !this.#fresh) return this.#generation.follower.caughtUp();
    return new Promise((resolve) => this.#caughtUp.push(resolve));
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#healer.ended;
    await Promise.all(this.#background);
    await this.#generation?.stop();
    this.#earlier?.close();
    this.#tellCaughtUp();
  }

  has(table: TableName, key: string): boolean {
    return this.#generation?.store.has(table, key) ?? false;
  }
  origin(table: TableName, key: string): RowOrigin | null {
    return this.#generation?.store.origin(table, key) ?? null;
  }
  /** A row as this replica had it; null where that is not known. */
  rowAt(table: TableName, key: string, atMs: number): RowAt | null {
    return this.#generation?.store.rowAt(table, key, atMs) ?? null;
  }

  status(): ReplicaStatus {
    return statusOf({
      generation: this.#generation,
      nowMs: this.#options.world.nowMs(),
      wallMs: this.#options.world.wallMs(),
      startedMs: this.#startedMs,
      silentMs: this.#voices.silentMs,
      staleAfterMs: this.#tuning.staleAfterMs,
      silentAfterMs: this.#tuning.silentAfterMs,
      incidents: this.#incidents.all,
      healing: this.#healer.status,
      bootstraps: this.#bootstraps,
      lastBootstrap: this.#lastBootstrap,
      lastScrub: this.#lastScrub,
    });
  }

  // ── beginning ──────────────────────────────────────────────────────────────────────────────────────────────────

  async #begin(): Promise<void> {
    if (this.#generation === null) return this.#healer.ask("another schema", "now");
    if (this.#fresh) await this.#fromSnapshot();
    if (this.#stop.signal.aborted) return;
    this.#fresh = false;
    const { follower } = this.#generation;
    if (this.#caughtUp.length > 0) void follower.caughtUp().then(() => this.#tellCaughtUp());
    follower.start();
  }

  /** A replica that knows nothing has nothing to lose: what a snapshot says is better. */
  async #fromSnapshot(): Promise<void> {
    const { world, regions, log, onTakeOver } = this.#options;
    const startedMs = world.wallMs();
    try {
      const prepared = await storeFromSnapshot({
        world,
        regions,
        log,
        tuning: this.#tuning,
        signal: this.#stop.signal,
      });
      if (prepared === null) return;
      const { store, from } = prepared;
      const before = this.#generation;
      try {
        world.files.takeOver();
      } catch (error) {
        store.close();
        throw error;
      }
      this.#generation = this.#generationOf(store);
      await before?.stop();
      this.#pruned();
      const rows = Object.values(store.counts()).reduce((sum, each) => sum + each.rows, 0);
      this.#bootstrapped({
        why: "new",
        started_ms: startedMs,
        from,
        rows,
        differed: rows,
        differences: [],
        carried: 0,
        past_carried: 0,
      });
      this.#incidents.healed(world.wallMs(), store);
      onTakeOver?.();
    } catch (error) {
      log.warn(
        { err: messageOf(error) },
        "a snapshot cannot be begun with; reading the streams from their start",
      );
    }
  }

  #tellCaughtUp(): void {
    for (const resolve of this.#caughtUp.splice(0)) resolve();
  }

  #generationOf(store: Generation["store"]): Generation {
    const { world, regions, apiPublicKey, log } = this.#options;
    const digests = [...store.digests.all];
    this.#voices.hear(new Map(digests.map(([owner, { publishedMs }]) => [owner, publishedMs])));
    return new Generation({
      ...{ store, world, regions, apiPublicKey, log, voices: this.#voices },
      onChanges: (changes, of) => this.#changed(changes, of),
      onTrouble: (trouble, of) => this.#trouble(trouble, of),
    });
  }

  #changed(changes: RowChange[], of: Generation): void {
    if (of === this.#generation) this.#options.onChanges(changes);
  }

  // ── finding out ────────────────────────────────────────────────────────────────────────────────────────────────

  #trouble(trouble: FollowerTrouble, of: Generation): void {
    if (of !== this.#generation) return;
    switch (trouble.kind) {
      case "gap": {
        const { stream, position } = trouble;
        return this.#incident("gap", `${stream} does not reach back to ${position}`, { stream, position });
      }
      case "corrupt":
        return this.#incident("corrupt", trouble.detail, {});
      case "digest": {
        const { stream, compared } = trouble;
        const { owner, entryId, differences, news } = compared;
        if (!news) return this.#healer.ask("digest");
        const [first] = differences;
        const detail =
          `${owner} has ${first?.expected.rows} ${first?.table}, and ${first?.found.rows} are here`;
        return this.#incident("digest", detail, { stream, position: entryId, differences });
      }
    }
  }

  #incident(kind: IncidentKind, detail: string, more: Partial<Incident>): void {
    if (kind === "corrupt" || kind === "scrub") {
      if (this.#damaged) return;
      this.#damaged = true;
    }
    this.#incidents.add({ at_ms: this.#options.world.wallMs(), kind, detail, ...more, healed_ms: null });
    this.#healer.ask(kind);
  }

  async #scrubNowAndThen(): Promise<void> {
    const { world } = this.#options;
    const { signal } = this.#stop;
    const { scrubIntervalMs, scrubShare, tombstonesKeptMs } = this.#tuning;
    let tookMs = 0;
    while (!signal.aborted) {
      const restMs = Math.max(scrubIntervalMs / 10, scrubIntervalMs * (0.75 + world.random() / 4) - tookMs);
      await world.pause(restMs, signal);
      const generation = this.#generation;
      if (signal.aborted || generation === null || this.#damaged || this.#fresh) continue;
      const { store, follower, ending } = generation;
      const { nowMs, wallMs, pause, files } = world;
      const result = await generation.scrubWith(scrub({
        ...{ store, nowMs, wallMs, pause, signal: ending, share: scrubShare },
        passMs: scrubIntervalMs * SCRUB_PASS_SHARE,
        open: () => files.openCurrent(),
        positions: () => follower.positions,
        mayForget: (owner, publishedMs) =>
          publishedMs < wallMs() - tombstonesKeptMs && publishedMs < store.digests.agreedUpToMs(owner),
      }));
      if (result === null || generation !== this.#generation) continue;
      tookMs = result.tookMs;
      this.#lastScrub = { ...result, atMs: world.wallMs() };
      const [first] = result.findings;
      if (first === undefined) continue;
      const detail = result.findings.length === 1
        ? first
        : `${first} (and ${result.findings.length - 1} more)`;
      this.#incident("scrub", detail, { differences: result.differences });
    }
  }

  // ── healing ────────────────────────────────────────────────────────────────────────────────────────────────────

  async #heal(why: string, useSnapshots: boolean): Promise<void> {
    const { world, regions, apiPublicKey, log } = this.#options;
    const startedMs = world.wallMs();
    const before: EarlierRows | null = this.#generation?.store ??
      (this.#earlier === null ? null : rowsOfAnySchema(this.#earlier));
    try {
      const built = await buildGeneration({
        ...{ world, regions, apiPublicKey, log, useSnapshots, before, isDamaged: () => this.#damaged },
        ...{ tuning: this.#tuning, signal: this.#stop.signal, voices: this.#voices },
        onChanges: (changes, of) => this.#changed(changes, of),
        onTrouble: (trouble, of) => this.#trouble(trouble, of),
        onWait: (owner) => this.#healer.waitsFor = owner,
      });
      await this.#takeOver(why, startedMs, built);
    } finally {
      this.#tellCaughtUp();
    }
  }

  async #takeOver(
    why: string,
    startedMs: number,
    { generation, from, comparison, pastCarried, changes }: Built,
  ): Promise<void> {
    const { world, onChanges, onTakeOver, log } = this.#options;
    let earlierPath: string | null;
    try {
      earlierPath = world.files.takeOver();
    } catch (error) {
      await generation.stop();
      throw error;
    }
    const before = this.#generation, damaged = this.#damaged;
    this.#generation = generation;
    this.#damaged = this.#fresh = false;
    this.#lastScrub = null;
    if (before !== null) generation.counts.continueFrom(before.counts);
    const { differed, differences, carried, unreadable } = comparison;
    const rows = [...generation.store.owners().values()].reduce((sum, owner) => sum + owner.rows, 0);
    this.#bootstrapped({
      ...{ why, started_ms: startedMs, from, rows, differed, differences, carried },
      past_carried: pastCarried,
    });
    if (unreadable !== null) {
      log.warn({ err: unreadable }, "not all of the earlier generation could be compared");
    }
    this.#incidents.healed(world.wallMs(), generation.store);
    onTakeOver?.();
    if (changes.length > 0) onChanges(changes);
    await before?.stop();
    this.#earlier?.close();
    this.#earlier = null;
    try {
      if (damaged && earlierPath !== null) world.files.setAside(earlierPath);
    } catch (error) {
      log.warn({ err: messageOf(error) }, "the damaged generation cannot be kept aside");
    }
    this.#pruned();
  }

  #bootstrapped(report: Omit<BootstrapReport, "took_ms">): void {
    const { world, log } = this.#options;
    this.#bootstraps++;
    this.#lastBootstrap = { ...report, took_ms: world.wallMs() - report.started_ms };
    log.info({ bootstrap: this.#lastBootstrap }, "another generation of the replica serves");
  }

  #pruned(): void {
    try {
      this.#options.world.files.prune();
    } catch (error) {
      this.#options.log.warn({ err: messageOf(error) }, "earlier generations cannot be removed");
    }
  }
}
