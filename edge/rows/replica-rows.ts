/** Rows of the state streams: the store on disk and the reader that follows Redis, as one source. */
import type { TableName } from "../../control/contract/rows.ts";
import { Replica, type ReplicaOptions } from "../replica/replica.ts";
import type { ReplicaStore } from "../replica/replica-store.ts";
import type { RowChange } from "../routes/route-table.ts";
import type { RowOrigin, RowSource, RowSourceStatus } from "./row-source.ts";

const QUARANTINE_SHOWN = 20;

export class ReplicaRows implements RowSource {
  readonly #store: ReplicaStore;
  readonly #replica: Replica;

  constructor(options: ReplicaOptions) {
    this.#store = options.store;
    this.#replica = new Replica(options);
  }

  stored(): RowChange[] {
    return this.#replica.stored();
  }
  start(): void {
    this.#replica.start();
  }
  caughtUp(): Promise<void> {
    return this.#replica.caughtUp();
  }
  async stop(): Promise<void> {
    await this.#replica.stop();
    this.#store.close();
  }
  has(table: TableName, key: string): boolean {
    return this.#store.has(table, key);
  }
  origin(table: TableName, key: string): RowOrigin | null {
    return this.#store.origin(table, key);
  }

  status(): RowSourceStatus {
    const replica = this.#replica.status();
    const quarantined = Object.values(replica.events_quarantined).reduce((sum, count) => sum + count, 0);
    return {
      from: "redis",
      connected: replica.connected,
      stale_ms: replica.stale_ms,
      quarantined,
      gaps: replica.gaps,
      details: {
        ...replica,
        tables: this.#store.counts(),
        quarantine: this.#store.quarantined(QUARANTINE_SHOWN),
      },
    };
  }
}
