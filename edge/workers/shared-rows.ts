/**
 * A worker's rows where one replicator writes them for all: read from its file at the start, and again, key by key, when
 * it says that they have changed. What it says names rows and does not hold them, so that no order of messages can bring
 * an old one back. After a crash of the replicator, which may have kept silent about its last batch, all is read again.
 */
import type { TableName } from "../../control/contract/rows.ts";
import type { RowChange } from "../routes/route-table.ts";
import type { RowOrigin, RowSource, RowSourceStatus } from "../rows/row-source.ts";
import type { OpenDatabase } from "../runtime/sqlite-port.ts";
import type { FromReplicator } from "./messages.ts";
import { ReplicaReader } from "./replica-reader.ts";

/** A replicator that has said nothing for so long is taken for gone. */
export const SILENCE_MS_MAX = 5_000;

export interface SharedRowsOptions {
  readonly file: string;
  readonly openDatabase: OpenDatabase;
  readonly onChanges: (changes: RowChange[]) => void;
  readonly nowMs: () => number;
}

export class SharedRows implements RowSource {
  readonly #options: SharedRowsOptions;
  #reader: ReplicaReader;
  #started = false;
  #stopped = false;
  #reading: Promise<void> = Promise.resolve();
  #status: RowSourceStatus | null = null;
  #heardMs = -Infinity;

  constructor(options: SharedRowsOptions) {
    this.#options = options;
    this.#reader = new ReplicaReader(options.file, options.openDatabase);
  }

  stored(): RowChange[] {
    return [...this.#reader.pages()].flat().filter(({ row }) => row !== null);
  }
  start(): void {
    this.#started = true;
  }
  /** The replicator had caught up before this process was started. */
  caughtUp(): Promise<void> {
    return Promise.resolve();
  }
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#reading;
    this.#reader.close();
  }
  has(table: TableName, key: string): boolean {
    return this.#reader.change(table, key).row !== null;
  }
  origin(table: TableName, key: string): RowOrigin | null {
    return this.#reader.origin(table, key);
  }
  status(): RowSourceStatus {
    const silentMs = this.#options.nowMs() - this.#heardMs;
    const status = this.#status;
    return {
      from: "redis",
      connected: (status?.connected ?? false) && silentMs < SILENCE_MS_MAX,
      stale_ms: status === null || status.stale_ms === null ? null : Math.round(status.stale_ms + silentMs),
      quarantined: status?.quarantined ?? 0,
      gaps: status?.gaps ?? 0,
      details: status?.details ?? {},
    };
  }

  /** Before `start`, nothing has to be done: `stored` reads what was said before it. */
  heard(message: FromReplicator): void {
    if (message.type === "rows_status") {
      this.#status = message.status;
      this.#heardMs = this.#options.nowMs();
    } else if (this.#started && !this.#stopped) {
      if (message.type === "changed") {
        this.#options.onChanges(message.rows.map(([table, key]) => this.#reader.change(table, key)));
      } else {
        this.#reading = this.#reading.then(() => this.#readAll());
      }
    }
  }

  /** Opened anew: the replicator may have set the file aside and begun another. */
  async #readAll(): Promise<void> {
    if (this.#stopped) return;
    this.#reader.close();
    this.#reader = new ReplicaReader(this.#options.file, this.#options.openDatabase);
    for (const page of this.#reader.pages()) {
      if (this.#stopped) return;
      this.#options.onChanges(page);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}
