/** What a replicator, the process that answers queries of its replica, and those that run them say to each other. */
import type { WireError } from "../../control/contract/errors.ts";
import type { EdgeRows } from "../../control/contract/process-config.ts";
import type { ChildProcess } from "../workers/child-process.ts";
import type { Answer, Statement } from "./run-statement.ts";
import type { QueryLimits } from "./query-limits.ts";

export type QueryPlace = NonNullable<(EdgeRows & { from: "redis" })["query"]>;

export interface QuerySettings {
  readonly file: string;
  readonly place: QueryPlace;
  readonly logLevel: string;
  readonly limits: Partial<QueryLimits>;
}

export interface QueryCounts {
  readonly queries: number;
  readonly refused: number;
  /** Statements that ran into their bound of time or memory. */
  readonly killed: number;
  readonly subscriptions: number;
  readonly watchers: number;
  readonly cut_off: number;
  readonly evaluations: number;
  /** Times that statements waited so that the write-ahead log could begin anew. */
  readonly breaths: number;
}

export type ToQueryServer =
  /** Comes first, once. */
  | { readonly type: "settings"; readonly settings: QuerySettings }
  /** Rows of these tables have changed; the next such message follows `more`. */
  | { readonly type: "changed"; readonly tables: readonly string[]; readonly takenOver: boolean }
  | { readonly type: "status"; readonly ask: number; readonly body: string }
  | { readonly type: "stop" };

export type FromQueryServer =
  | { readonly type: "listening"; readonly port: number }
  | { readonly type: "unusable"; readonly message: string }
  | { readonly type: "more" }
  | { readonly type: "counts"; readonly counts: QueryCounts }
  /** Somebody wants the replica's page. */
  | { readonly type: "status"; readonly ask: number };

export type FromRunner =
  | { readonly type: "ready" }
  | { readonly type: "answer"; readonly answer: Answer }
  | { readonly type: "failed"; readonly error: WireError };

export type QueryServerProcess = ChildProcess<ToQueryServer, FromQueryServer>;
export type RunnerProcess = ChildProcess<Statement, FromRunner>;
