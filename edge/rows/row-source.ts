/** Where an edge's rows come from: the state streams (`../replica/`), a file, or the command line. */
import type { PastRows } from "../replica/row-history.ts";
import type { TableName } from "../../control/contract/rows.ts";

export interface RowSource {
  /**
   * Begins to read; what there is and what changes goes to the `onChanges` that the source was made with. Resolves once
   * what was there has been read, or cannot be.
   * @throws GodwitError where there is nothing to serve from
   */
  start(): Promise<void>;
  stop(): Promise<void>;
  status(): RowSourceStatus;
  /** Whether a live row is there. */
  has(table: TableName, key: string): boolean;
  /** Whence a live row comes; absent where rows have no owner. */
  origin?(table: TableName, key: string): RowOrigin | null;

  /** What is known of the past; absent, or null, where nothing is. Throws where it cannot be read now. */
  past?(): PastRows | null;
}

export interface RowOrigin {
  readonly owner: string;
  readonly version: { readonly epoch: number; readonly seq: number };
  readonly published_ms: number;
}

export interface RowSourceStatus {
  readonly from: "redis" | "file" | "given";
  /** Rows that change are seen. */
  readonly connected: boolean;
  /** Since the source last answered; null before its first answer. */
  readonly stale_ms: number | null;
  /** Rows or events refused since the start. */
  readonly quarantined: number;
  /** Times that the source was read again from its start. */
  readonly gaps: number;
  /** Times that its replicator was replaced, by reason; absent where it has none. */
  readonly restarts?: Readonly<Record<string, number>>;
  /** What it has is older than configured; absent where it cannot be. */
  readonly stale?: boolean;
  /** Of a replica of the state streams, for metrics. */
  readonly replica?: ReplicaFigures;
  /** What else the source knows of itself, for `/replica`. */
  readonly details: Record<string, unknown>;
}

export interface ReplicaFigures {
  /** Times since its process began that it found itself wrong. */
  readonly incidents: number;
  /** Generations that took over. */
  readonly bootstraps: number;
  /** Owners whose newest digest differs from what is here. */
  readonly digests_differing: number;
  /** Since it had taken all that there was. */
  readonly behind_ms: number | null;
  /** Since any owner knew no more than what is here; null where none gives digests. */
  readonly silent_ms: number | null;
  /** From the owner's commit to being here, of the newest row. */
  readonly lag_ms: number | null;
  readonly stale_after_ms: number;
}
