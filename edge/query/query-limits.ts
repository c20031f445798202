/** What a query, a subscription and all of them together may take. Tests make some of them small. */
export interface QueryLimits {
  /** Statements that run at once, beside the one that subscriptions share. */
  readonly queriesMax: number;
  readonly statementMsMax: number;
  /** Statements may overlap without a moment between them for so long; then that moment is made. */
  readonly busyMsMax: number;
  readonly breathMsMax: number;
  readonly rowsMax: number;
  /** Of a whole answer. */
  readonly bytesMax: number;
  /** Of one value, which is also that of a row. */
  readonly valueBytesMax: number;
  readonly sqlBytesMax: number;
  /** Resident memory of a process that runs a statement; past it, it is killed. */
  readonly runnerRssMbMax: number;
  /** An unused process is ended. */
  readonly runnerIdleMsMax: number;
  /** Different ones; any number of clients up to `watchersMax` share one. */
  readonly subscriptionsMax: number;
  readonly watchersMax: number;
  readonly subscriptionRowsMax: number;
  readonly subscriptionBytesMax: number;
  readonly subscriptionMsMax: number;
  /** Changes that are kept of each, for those who come back with a cursor. */
  readonly changesKeptMax: number;
  readonly changesKeptBytesMax: number;
  /** A subscription is kept for so long after its last client has left. */
  readonly retainedMsMax: number;
  readonly heartbeatMs: number;
  /** What waits for a client that does not read. */
  readonly unreadBytesMax: number;
  readonly stallMsMax: number;
  /** So long a client that is cut off may take to read why. */
  readonly farewellMsMax: number;
  readonly connectionsMax: number;
  readonly bodyBytesMax: number;
  readonly requestMsMax: number;
}

export const QUERY_LIMITS: QueryLimits = {
  queriesMax: 4,
  statementMsMax: 5_000,
  busyMsMax: 10_000,
  breathMsMax: 2_000,
  rowsMax: 10_000,
  bytesMax: 8 * 1_048_576,
  valueBytesMax: 1_048_576,
  sqlBytesMax: 16_384,
  runnerRssMbMax: 384,
  runnerIdleMsMax: 60_000,
  subscriptionsMax: 32,
  watchersMax: 64,
  subscriptionRowsMax: 10_000,
  subscriptionBytesMax: 2 * 1_048_576,
  subscriptionMsMax: 2_000,
  changesKeptMax: 10_000,
  changesKeptBytesMax: 2 * 1_048_576,
  retainedMsMax: 60_000,
  heartbeatMs: 10_000,
  unreadBytesMax: 8 * 1_048_576,
  stallMsMax: 15_000,
  farewellMsMax: 5_000,
  connectionsMax: 128,
  bodyBytesMax: 65_536,
  requestMsMax: 10_000,
};
