/** Rows of the state streams, as a replica keeps them. */
import type { TableName } from "../../control/contract/rows.ts";
import { Replica, type ReplicaOptions } from "../replica/replica.ts";
import type { RowChange } from "../routes/route-table.ts";
import type { RowOrigin, RowSource, RowSourceStatus } from "./row-source.ts";

export class ReplicaRows implements RowSource {
  readonly #replica: Replica;

  constructor(options: ReplicaOptions) {
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
  stop(): Promise<void> {
    return this.#replica.stop();
  }
  has(table: TableName, key: string): boolean {
    return this.#replica.has(table, key);
  }
  origin(table: TableName, key: string): RowOrigin | null {
    return this.#replica.origin(table, key);
  }

  status(): RowSourceStatus {
    const replica = this.#replica.status();
    const quarantined = Object.values(replica.events_quarantined).reduce((sum, count) => sum + count, 0);
    const { connected, stale_ms, gaps } = replica;
    return { from: "redis", connected, stale_ms, quarantined, gaps, details: { ...replica } };
  }
}
