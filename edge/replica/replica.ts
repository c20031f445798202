/**
 * A replica of the state streams: a file that a follower keeps up to date, and word of what changed. It touches whoever
 * routes by it in `onChanges` alone, so that it can be a process of its own.
 */
import type { Logger } from "pino";
import { TABLE_NAMES, type TableName } from "../../control/contract/rows.ts";
import type { PublisherKey } from "../../control/contract/signing.ts";
import type { RowOrigin } from "../rows/row-source.ts";
import type { RowChange } from "../routes/route-table.ts";
import { Follower } from "./follower.ts";
import type { ReplicaWorld } from "./ports.ts";
import { ReplicaCounts } from "./replica-counts.ts";
import { openReplicaStore, type ReplicaStore } from "./replica-store.ts";

const QUARANTINE_SHOWN = 20;

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
}

export interface ReplicaStatus {
  readonly connected: boolean;
  readonly streams: Record<string, string>;
  /** Since Redis last answered; null before its first answer. */
  readonly stale_ms: number | null;
  /** From the owner's commit to being routed here, of the newest event. */
  readonly last_lag_ms: number | null;
  readonly events_applied: number;
  readonly events_old: number;
  readonly events_quarantined: Record<string, number>;
  readonly unknown_tables: Record<string, number>;
  readonly unknown_columns: number;
  readonly gaps: number;
  /** Why the last connection to Redis ended; null while one stands. */
  readonly last_error: string | null;
  readonly reconnects: number;
  readonly tables: Record<string, { rows: number; tombstones: number }>;
  readonly quarantine: Record<string, unknown>[];
}

export class Replica {
  readonly #options: ReplicaOptions;
  readonly #counts = new ReplicaCounts();
  readonly #store: ReplicaStore;
  readonly #follower: Follower;

  constructor(options: ReplicaOptions) {
    this.#options = options;
    const { world, regions, log, onChanges } = options;
    this.#store = openReplicaStore(world.files, (reason) => {
      log.error({ reason }, "replica file set aside; building it anew");
    });
    this.#follower = new Follower({
      ...{ store: this.#store, world, regions, log, onChanges },
      counts: this.#counts,
    });
  }

  /** Everything that was applied in earlier lives of this edge. */
  stored(): RowChange[] {
    return TABLE_NAMES.flatMap((table) =>
      this.#store.rows(table).map(({ key, row }) => ({ table, key, row }) as RowChange)
    );
  }

  start(): void {
    this.#follower.start();
  }

  /** Resolves once a read has found nothing new, or could not be made. Call before `start`. */
  caughtUp(): Promise<void> {
    return this.#follower.caughtUp();
  }

  async stop(): Promise<void> {
    await this.#follower.stop();
    this.#store.close();
  }

  has(table: TableName, key: string): boolean {
    return this.#store.has(table, key);
  }
  origin(table: TableName, key: string): RowOrigin | null {
    return this.#store.origin(table, key);
  }

  status(): ReplicaStatus {
    const counts = this.#counts;
    const { connected, positions, lastAnswerMs, lastError } = this.#follower;
    return {
      connected,
      streams: Object.fromEntries(positions),
      stale_ms: lastAnswerMs === null ? null : Math.round(this.#options.world.nowMs() - lastAnswerMs),
      last_lag_ms: counts.lastLagMs,
      events_applied: counts.applied,
      events_old: counts.old,
      events_quarantined: { ...counts.quarantinedByReason },
      unknown_tables: { ...counts.unknownTables },
      unknown_columns: counts.unknownColumns,
      gaps: counts.gaps,
      last_error: lastError,
      reconnects: counts.reconnects,
      tables: this.#store.counts(),
      quarantine: this.#store.quarantined(QUARANTINE_SHOWN),
    };
  }
}
