/** What the supervisor and its workers say to each other, over the channel that the runtime gives a forked process. */
import type { TableName } from "../../control/contract/rows.ts";
import type { RowSourceStatus } from "../rows/row-source.ts";

/** What the replicator says; the supervisor passes it on to every worker. */
export type FromReplicator =
  | { readonly type: "changed"; readonly rows: readonly (readonly [TableName, string])[] }
  /** It has started; what an earlier one did not say any more has to be read. */
  | { readonly type: "caught_up" }
  | { readonly type: "rows_status"; readonly status: RowSourceStatus };

export type ToWorker =
  | FromReplicator
  /** Choose sockets of shared ports so; the worker has one of each itself. `program` is base64. */
  | { readonly type: "steer"; readonly ports: readonly { readonly at: string; readonly program: string }[] }
  /** Another worker has taken over: serve what is connected, at most so long, then exit. */
  | { readonly type: "retire"; readonly drainMsMax: number }
  /** The edge stops. */
  | { readonly type: "stop" }
  | { readonly type: "page"; readonly ask: number; readonly path: string };

export type FromWorker =
  /** In the order in which they were bound, `ADDRESS:PORT`. */
  | { readonly type: "listening"; readonly at: readonly string[] }
  | { readonly type: "steered" }
  /** No listening socket is open any more. */
  | { readonly type: "closed" }
  | { readonly type: "page"; readonly ask: number; readonly page: Page };

/** A page of the admin listener. */
export interface Page {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

/** How a process learns that it is one of several: the supervisor sets it to a worker's number, or `replicator`. */
export const WORKER_VARIABLE = "GODWIT_EDGE_WORKER";
export const REPLICATOR = "replicator";
