/** Rows of the state streams for an edge that is one process: a replicator of its own writes them, and it reads them. */
import type { TableName } from "../../control/contract/rows.ts";
import type { PastRows } from "../replica/row-history.ts";
import type { ReplicatorProcess } from "../workers/child-process.ts";
import type { ReplicatorSettings } from "../workers/messages.ts";
import { ReplicatorKeeper, withReplicator } from "../workers/replicator-keeper.ts";
import type { WatchLimits } from "../workers/replicator-watch.ts";
import type { RowOrigin, RowSource, RowSourceStatus } from "./row-source.ts";
import { SharedRows, type SharedRowsOptions } from "./shared-rows.ts";

export interface ReplicatedRowsOptions
  extends Omit<SharedRowsOptions, "askForMore" | "file" | "onUnreadable"> {
  readonly fork: () => ReplicatorProcess;
  readonly settings: ReplicatorSettings;
  /** When one that does not do its work is replaced. */
  readonly limits?: WatchLimits;
}

export class ReplicatedRows implements RowSource {
  readonly #shared: SharedRows;
  readonly #keeper: ReplicatorKeeper;

  constructor(options: ReplicatedRowsOptions) {
    this.#shared = new SharedRows({
      ...options,
      file: options.settings.rows.replica_file,
      askForMore: (taken) => this.#keeper.more(taken),
      onUnreadable: () => this.#keeper.unreadable(),
    });
    this.#keeper = new ReplicatorKeeper({ ...options, passOn: (message) => this.#shared.heard(message) });
  }

  async start(): Promise<void> {
    await this.#keeper.start();
    try {
      await this.#shared.start();
    } catch (error) {
      await this.#keeper.stop();
      throw error;
    }
  }

  async stop(): Promise<void> {
    await this.#shared.stop();
    await this.#keeper.stop();
  }

  has(table: TableName, key: string): boolean {
    return this.#shared.has(table, key);
  }
  origin(table: TableName, key: string): RowOrigin | null {
    return this.#shared.origin(table, key);
  }
  past(): PastRows | null {
    return this.#shared.past();
  }
  status(): RowSourceStatus {
    return withReplicator(this.#shared.status(), this.#keeper.status());
  }
}
