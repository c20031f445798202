/** What the supervisor, its workers and the replicator say to each other, over the channel that the runtime gives a forked process. */
import type { EdgeRows } from "../../control/contract/process-config.ts";
import type { News } from "../rows/pending-changes.ts";
import type { RowSourceStatus } from "../rows/row-source.ts";
import type { Beat } from "./replicator-watch.ts";

/** What a replicator does; it comes over its channel because it holds a password. */
export interface ReplicatorSettings {
  readonly rows: EdgeRows & { readonly from: "redis" };
  readonly regions: readonly string[];
  readonly logLevel: string;
}

export type ToReplicator =
  /** Comes first, once. */
  | { readonly type: "settings"; readonly settings: ReplicatorSettings }
  /** News of that weight (`news-weight.ts`) have been taken in, so it may send as much again. */
  | { readonly type: "more"; readonly taken: number }
  | { readonly type: "stop" };

export type FromReplicator =
  /** At most about NEWS_UNASKED_MAX keys are under way: the next follow `more`. */
  | { readonly type: "news"; readonly news: News }
  /** It has started; what an earlier one did not say any more has to be read. */
  | { readonly type: "caught_up" }
  | { readonly type: "heartbeat"; readonly status: RowSourceStatus; readonly beat: Beat };

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
  /** As `more` to the replicator. */
  | { readonly type: "more"; readonly taken: number }
  /** It has not been able to read the replica's file for some time. */
  | { readonly type: "unreadable" }
  | { readonly type: "page"; readonly ask: number; readonly page: Page };

/** A page of the admin listener. */
export interface Page {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

/** How a process learns that it is one of several: the supervisor sets it to a worker's number. */
export const WORKER_VARIABLE = "GODWIT_EDGE_WORKER";
