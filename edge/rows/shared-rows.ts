/**
 * A relay's rows where a replicator writes them: read from its file at the start, and again, key by key, when it says
 * that they have changed. After a crash of the replicator, which may have kept silent about its last batch, all is read
 * again. A file that cannot be read leaves the relay with what it has in memory: it asks again later, less and less often,
 * and counts.
 */
import type { Logger } from "pino";
import { GodwitError, messageOf } from "../../control/contract/errors.ts";
import type { TableName } from "../../control/contract/rows.ts";
import type { PastRows } from "../replica/row-history.ts";
import type { RowChange } from "../routes/route-table.ts";
import type { OpenDatabase } from "../runtime/sqlite-port.ts";
import type { FromReplicator } from "../workers/messages.ts";
import { NewsReceipts } from "./news-weight.ts";
import { type News, PendingChanges } from "./pending-changes.ts";
import { nextSliceRows, restMs, retryMs, SLICE_ROWS_FIRST, SLICE_ROWS_MAX } from "./reading-pace.ts";
import { ReplicaReader, ROUTED_TABLES } from "./replica-reader.ts";
import type { RowOrigin, RowSource, RowSourceStatus } from "./row-source.ts";

/** A replicator that has said nothing for so long is taken for gone. */
export const SILENCE_MS_MAX = 5_000;
/** For so long a relay cannot read the file before it says so; its replicator, started anew, would check the file. */
export const UNREADABLE_MS_MAX = 10_000;
/** How often a starting relay tries to read a file that it cannot read. */
export const START_TRIES_MAX = 10;

export interface SharedRowsOptions {
  readonly file: string;
  readonly openDatabase: OpenDatabase;
  readonly onChanges: (changes: RowChange[]) => void;
  /** Keys of the rows that are in memory. */
  readonly heldKeys: (table: RowChange["table"]) => Iterable<string>;
  /** News of that weight have been taken in: as much may be said again. */
  readonly askForMore: (taken: number) => void;
  /** The file could not be read for some time; again each time that as much has passed. */
  readonly onUnreadable?: () => void;
  readonly log: Logger;
  readonly nowMs: () => number;
  readonly random: () => number;
}

export class SharedRows implements RowSource {
  readonly #options: SharedRowsOptions;
  readonly #pending = new PendingChanges();
  #reader: ReplicaReader | null = null;
  /** While all is read. */
  #pages: Iterator<RowChange[]> | null = null;
  #pagesTurn = false;
  #sliceRows = SLICE_ROWS_FIRST;
  #started = false;
  #stopped = false;
  #isWorking = false;
  #working: Promise<void> = Promise.resolve();
  #restUntilMs = -Infinity;
  readonly #receipts: NewsReceipts;
  #wake: (() => void) | null = null;
  #failuresInARow = 0;
  /** Since when it fails, or has last said so. */
  #failingMs = 0;
  #failures = 0;
  #lastFailure: string | null = null;
  #faults = 0;
  #status: RowSourceStatus | null = null;
  #heardMs = -Infinity;

  constructor(options: SharedRowsOptions) {
    this.#options = options;
    this.#receipts = new NewsReceipts(options.askForMore);
  }

  /** @throws GodwitError `edge.replica_unreadable` */
  async start(): Promise<void> {
    const { file, random, openDatabase } = this.#options;
    for (let tries = 1;; tries++) {
      try {
        this.#reader = new ReplicaReader(file, openDatabase);
        for (const page of this.#reader.pages(() => SLICE_ROWS_MAX)) {
          this.#apply(page);
          // Signals and the replicator's words are heard meanwhile.
          await new Promise((resolve) => setImmediate(resolve));
        }
        break;
      } catch (error) {
        this.#reader?.close();
        this.#reader = null;
        if (this.#stopped) return;
        if (tries >= START_TRIES_MAX) {
          throw new GodwitError(
            "edge.replica_unreadable",
            `Cannot read the replica ${file}: ${messageOf(error)}`,
            {
              fault: "us",
              hint: "Its replicator makes it; what that one could not do stands above.",
              cause: error,
            },
          );
        }
        await this.#pause(retryMs(tries, random));
      }
    }
    this.#started = true;
    this.#work();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#wake?.();
    await this.#working;
    this.#reader?.close();
    this.#reader = null;
  }

  has(table: TableName, key: string): boolean {
    return this.origin(table, key) !== null;
  }

  origin(table: TableName, key: string): RowOrigin | null {
    try {
      return this.#reader?.origin(table, key) ?? null;
    } catch {
      return null; // what reads the file all the time counts and reports that it cannot
    }
  }

  past(): PastRows | null {
    return this.#reader?.past() ?? null;
  }

  status(): RowSourceStatus {
    const silentMs = this.#options.nowMs() - this.#heardMs;
    const status = this.#status;
    const staleMs = status === null || status.stale_ms === null
      ? null
      : Math.round(status.stale_ms + silentMs);
    const { replica, stale = false } = status ?? {};
    return {
      from: "redis",
      connected: (status?.connected ?? false) && silentMs < SILENCE_MS_MAX,
      stale_ms: staleMs,
      // A replicator that is silent cannot say so itself.
      stale: stale || (replica !== undefined && staleMs !== null && staleMs > replica.stale_after_ms),
      ...(replica === undefined ? {} : { replica }),
      quarantined: status?.quarantined ?? 0,
      gaps: status?.gaps ?? 0,
      ...(status?.restarts === undefined ? {} : { restarts: status.restarts }),
      details: {
        ...status?.details,
        relay: {
          pending_keys: this.#pending.size,
          pending_overflows: this.#pending.overflows,
          read_failures: this.#failures,
          last_read_failure: this.#lastFailure,
          apply_faults: this.#faults,
        },
      },
    };
  }

  heard(message: FromReplicator): void {
    switch (message.type) {
      case "heartbeat":
        this.#status = message.status;
        this.#heardMs = this.#options.nowMs();
        // A supervisor from before an upgrade may say nothing more until it was asked, however little it said.
        if (this.#pending.empty) this.#receipts.settle(1);
        return;
      case "caught_up":
        // Before the first reading there is nothing to do: it will read what was written until now.
        if (this.#started) this.#take({ keys: [], all: true, takenOver: true });
        return;
      case "news":
        this.#receipts.add(message.news);
        this.#take(message.news);
    }
  }

  #take(news: News): void {
    this.#pending.merge(news);
    this.#work();
  }

  #work(): void {
    if (!this.#started || this.#stopped || this.#isWorking) return;
    this.#isWorking = true;
    // It may end before it returns, and the next news come before any promise says so.
    this.#working = this.#workOff();
  }

  async #workOff(): Promise<void> {
    while (!this.#stopped && (this.#pages !== null || !this.#pending.empty)) {
      const waitMs = this.#workOnce();
      if (waitMs > 0) await this.#pause(waitMs);
    }
    this.#isWorking = false;
  }

  /** @returns how long to leave it at that */
  #workOnce(): number {
    const { nowMs, random } = this.#options;
    const startedMs = nowMs();
    // A rest is kept by who comes after it: a timer for each single change would cost more than the change.
    if (startedMs < this.#restUntilMs) return this.#restUntilMs - startedMs;
    let waitMs = 0;
    try {
      const read = this.#slice();
      const endedMs = nowMs();
      this.#sliceRows = nextSliceRows(this.#sliceRows, read, endedMs - startedMs);
      const left = this.#pages === null ? this.#pending.size : Infinity;
      this.#restUntilMs = endedMs + restMs(endedMs - startedMs, read, left);
      this.#failuresInARow = 0;
    } catch (error) {
      this.#failed(error);
      this.#receipts.settle();
      waitMs = retryMs(this.#failuresInARow, random);
    }
    if (this.#pending.empty) this.#receipts.settle();
    return waitMs;
  }

  /** @returns how many rows it took in */
  #slice(): number {
    if (this.#reader === null) this.#open();
    // In turn, so that neither a storm nor a long reading of all keeps the other out.
    this.#pagesTurn = this.#pages !== null && !this.#pagesTurn;
    // A file that was replaced says nothing any more, however many of its keys are asked for.
    const { takenOver } = this.#pending;
    const keys = this.#pagesTurn || takenOver ? [] : this.#pending.takeKeys(this.#sliceRows);
    if (keys.length > 0) return this.#read(keys);
    if (this.#pages !== null && !takenOver) return this.#readPage();
    // No keys are left, so it is the file that may be another one, or all of it that may have changed.
    this.#reader!.close();
    this.#reader = null;
    this.#open();
    this.#pending.take();
    this.#pages = this.#everything(this.#reader!);
    return 0;
  }

  /** All of the file; then null for what is in memory and not in it, which may have been lost without a tombstone. */
  *#everything(reader: ReplicaReader): Generator<RowChange[]> {
    yield* reader.pages(() => this.#sliceRows);
    for (const table of ROUTED_TABLES) {
      let keys: string[] = [];
      for (const key of this.#options.heldKeys(table)) {
        keys.push(key);
        if (keys.length < this.#sliceRows) continue;
        yield missing(reader, table, keys);
        keys = [];
      }
      yield missing(reader, table, keys);
    }
  }

  #readPage(): number {
    const page = this.#pages!.next();
    if (page.done === true) {
      this.#pages = null;
      return 0;
    }
    this.#apply(page.value);
    return page.value.length;
  }

  #open(): void {
    const { file, openDatabase } = this.#options;
    this.#reader = new ReplicaReader(file, openDatabase);
  }

  #read(keys: News["keys"]): number {
    let changes: RowChange[];
    try {
      changes = this.#reader!.read(keys);
    } catch (error) {
      this.#pending.merge({ keys, all: false, takenOver: false });
      throw error;
    }
    this.#apply(changes);
    return changes.length;
  }

  /** A row that the table cannot take must not keep the others out, nor be tried for ever. */
  #apply(changes: RowChange[]): void {
    const { onChanges, log } = this.#options;
    try {
      onChanges(changes);
      return;
    } catch {
      // One by one below: which row it is shows there.
    }
    for (const change of changes) {
      try {
        onChanges([change]);
      } catch (error) {
        this.#faults++;
        log.error({ table: change.table, key: change.key, err: error }, "a row could not be taken in");
      }
    }
  }

  #failed(error: unknown): void {
    const { log, file, nowMs, onUnreadable } = this.#options;
    this.#failures++;
    this.#lastFailure = messageOf(error);
    const now = nowMs();
    if (this.#failuresInARow > 0 && now - this.#failingMs >= UNREADABLE_MS_MAX) {
      this.#failingMs = now;
      onUnreadable?.();
    }
    if (this.#failuresInARow++ === 0) {
      this.#failingMs = now;
      log.error({ file, err: this.#lastFailure }, "the replica cannot be read; serving on from memory");
    }
    this.#reader?.close();
    this.#reader = null;
    if (this.#pages !== null) {
      this.#pages = null;
      this.#pending.addAll();
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

function missing(reader: ReplicaReader, table: RowChange["table"], keys: readonly string[]): RowChange[] {
  return reader.read([[table, keys]]).filter(({ row }) => row === null);
}
