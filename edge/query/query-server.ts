/** Answers queries of a replica over HTTP, and keeps subscriptions. SQL runs in processes of its own (`runner.ts`). */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { Logger } from "pino";
import { GodwitError, messageOf } from "../../control/contract/errors.ts";
import { Query, Subscribe } from "../../control/contract/replica-queries.ts";
import { isLoopback } from "../standalone/address-port.ts";
import { bearsToken, tokenIn } from "../snapshot/token.ts";
import { listening, listenOnSocket } from "../replicate/owner-socket.ts";
import { Breather } from "./breather.ts";
import { LineWriter } from "./line-writer.ts";
import type { QueryCounts, QueryPlace, RunnerProcess } from "./messages.ts";
import type { QueryLimits } from "./query-limits.ts";
import { readQuestion } from "./read-question.ts";
import type { Answer, Parameter } from "./run-statement.ts";
import { Runner } from "./runner.ts";
import type { NumberedChange, Subscription } from "./subscription.ts";
import { type EndedWatcher, Subscriptions } from "./subscriptions.ts";
import { logBegunAnew } from "./write-ahead-log.ts";

const SWEEP_INTERVAL_MS = 1_000;
const RETRY_AFTER_S = 1;
const ROWS_PER_TEXT = 256;

export interface QueryServerOptions {
  readonly file: string;
  readonly place: QueryPlace;
  readonly limits: QueryLimits;
  readonly fork: () => RunnerProcess;
  /** The replica's own page, JSON. */
  readonly page: () => Promise<string>;
  readonly log: Logger;
}

export class QueryServer {
  readonly #options: QueryServerOptions;
  readonly #server: Server;
  readonly #token: string | null;
  readonly #free: Runner[];
  readonly #runners: Runner[];
  readonly #breather: Breather;
  readonly #subscriptions: Subscriptions;
  readonly #writers = new Set<() => void>();
  readonly #asked = new WeakSet<Socket>();
  readonly #timers: ReturnType<typeof setInterval>[] = [];
  #watchers = 0;
  #queries = 0;
  #refused = 0;
  #killed = 0;
  #cutOff = 0;

  /** @throws GodwitError `query.place_unusable` */
  constructor(options: QueryServerOptions) {
    const { place, limits, fork } = this.#options = options;
    this.#token = tokenOf(place);
    const nowMs = () => performance.now();
    this.#breather = new Breather({
      ...{ busyMsMax: limits.busyMsMax, nowMs },
      breath: () => logBegunAnew(options.file, limits.breathMsMax),
    });
    const runner = () =>
      new Runner({
        ...{ fork, rssMbMax: limits.runnerRssMbMax, idleMsMax: limits.runnerIdleMsMax },
        onKilled: () => this.#killed++,
      });
    this.#free = Array.from({ length: limits.queriesMax }, runner);
    const lane = runner();
    this.#runners = [...this.#free, lane];
    this.#subscriptions = new Subscriptions({
      ...{ limits, nowMs, random: Math.random },
      run: ({ sql, params }) =>
        this.#breather.run(() =>
          lane.run(
            this.#statement(sql, params, {
              rowsMax: limits.subscriptionRowsMax,
              bytesMax: limits.subscriptionBytesMax,
            }),
            limits.subscriptionMsMax,
          )
        ),
    });
    const server = this.#server = createServer((request, response) => void this.#answer(request, response));
    server.maxConnections = limits.connectionsMax;
    server.requestTimeout = server.headersTimeout = server.keepAliveTimeout = limits.requestMsMax;
    // Neither runtime ends a connection that never says anything.
    server.on("connection", (socket) => {
      const timer = setTimeout(() => {
        if (!this.#asked.has(socket)) socket.destroy();
      }, limits.requestMsMax);
      socket.once("close", () => clearTimeout(timer));
    });
  }

  /** @throws GodwitError `query.place_unusable` @returns the port, 0 where it is a socket */
  async listen(): Promise<number> {
    const { place, limits } = this.#options;
    try {
      if ("socket" in place) await listenOnSocket(this.#server, place.socket);
      else await listening(this.#server, () => this.#server.listen(place.port, place.address));
    } catch (error) {
      const at = "socket" in place ? place.socket : `${place.address}:${place.port}`;
      throw placeUnusable(`cannot listen on ${at}: ${messageOf(error)}`, error);
    }
    this.#server.on("error", (error) => this.#options.log.warn({ err: messageOf(error) }, "queries"));
    this.#timers.push(
      setInterval(() => this.#subscriptions.sweep(), SWEEP_INTERVAL_MS),
      setInterval(() => {
        for (const beat of this.#writers) beat();
      }, limits.heartbeatMs),
    );
    return "socket" in place ? 0 : (this.#server.address() as AddressInfo).port;
  }

  /** @param tables null: all of them may have */
  changed(tables: ReadonlySet<string> | null): void {
    this.#subscriptions.changed(tables === null ? null : new Set([...tables, "history"]));
  }

  counts(): QueryCounts {
    return {
      queries: this.#queries,
      refused: this.#refused,
      killed: this.#killed,
      subscriptions: this.#subscriptions.size,
      watchers: this.#watchers,
      cut_off: this.#cutOff,
      evaluations: this.#subscriptions.evaluations,
      breaths: this.#breather.breaths,
    };
  }

  async stop(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    for (const runner of this.#runners) runner.stop();
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
    await this.#subscriptions.stop();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on("error", () => {}); // it closes, too
    this.#asked.add(request.socket);
    try {
      await this.#respond(request, response);
    } catch (error) {
      this.#refused++;
      if (!(error instanceof GodwitError)) {
        this.#options.log.error({ err: error }, "a query could not be answered");
      }
      refuse(response, error);
    }
  }

  async #respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const token = this.#token;
    if (token !== null && !bearsToken(request.headers.authorization, token)) {
      response.setHeader("www-authenticate", 'Bearer realm="godwit replica"');
      throw TOKEN_WRONG;
    }
    switch (`${request.method} ${request.url}`) {
      case "POST /query":
        return await this.#query(request, response);
      case "POST /subscribe":
        return await this.#subscribe(request, response);
      case "GET /replica": {
        const page = await this.#options.page();
        response.writeHead(200, { "content-type": "application/json" });
        return void response.end(page);
      }
      default:
        throw NOT_FOUND;
    }
  }

  async #query(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { limits } = this.#options;
    const { sql, params } = await readQuestion(request, Query, limits);
    const startedMs = performance.now();
    const runner = this.#free.pop();
    if (runner === undefined) throw busy(`${limits.queriesMax} statements run, as many as may`);
    this.#queries++;
    const gone = new AbortController();
    const leave = () => gone.abort();
    response.once("close", leave);
    let answer: Answer;
    try {
      const statement = this.#statement(sql, params, limits);
      answer = await this.#breather.run(() => runner.run(statement, limits.statementMsMax, gone.signal));
    } finally {
      this.#free.push(runner);
      response.off("close", leave);
    }
    const ms = Math.round(performance.now() - startedMs);
    // It is bounded already, and all of it waits from the start.
    const writer = this.#writer(response, {}, Infinity);
    writer.line({ columns: answer.columns });
    writeRows(writer, answer.rows, (row) => `{"row":${row}}`);
    writer.line({ end: { rows: answer.rows.length, ms } });
    await writer.end();
  }

  async #subscribe(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { limits } = this.#options;
    const { from, ...watched } = await readQuestion(request, Subscribe, limits);
    if (this.#watchers >= limits.watchersMax) throw busy(`${this.#watchers} clients watch, as many as may`);
    this.#watchers++;
    const gone = Promise.withResolvers<void>();
    response.once("close", () => gone.resolve());
    let writer: LineWriter | null = null;
    let subscription: Subscription | null = null;
    const watcher: EndedWatcher = {
      changed: (changes) => writer!.text(textOf(changes)),
      ended: (error) => writer!.refuse(error),
    };
    const beat = () => {
      const { cursor } = subscription!;
      if (writer!.idle) writer!.line({ heartbeat: { cursor, at_ms: Date.now() } });
    };
    const begin = ({ columns, keyColumns, cursor }: Subscription, resumed: boolean) => {
      // Who is cut off finds the end of the connection, too.
      writer = this.#writer(response, { connection: "close" });
      writer.line({ columns, key: keyColumns, resumed, ...(resumed ? { cursor } : {}) });
    };
    try {
      if (from === undefined) {
        subscription = await this.#subscriptions.join(watched, watcher, (joined) => {
          begin(joined, false);
          const rows = [...joined.rows];
          writeRows(writer!, rows, ({ id, values }) => `{"row":{"id":${id},"values":${values}}}`);
          writer!.line({ snapshot: { rows: rows.length, cursor: joined.cursor } });
        });
      } else {
        subscription = this.#subscriptions.rejoin(watched, from, watcher, (joined, since) => {
          begin(joined, true);
          if (since.length > 0) writer!.text(textOf(since));
        });
        if (subscription === null) throw CURSOR_GONE;
      }
      this.#writers.add(beat);
      await gone.promise;
    } finally {
      this.#watchers--;
      this.#writers.delete(beat);
      if (subscription !== null) this.#subscriptions.leave(subscription, watcher);
    }
  }

  #writer(
    response: ServerResponse,
    fields: Record<string, string>,
    unreadBytesMax = this.#options.limits.unreadBytesMax,
  ): LineWriter {
    response.writeHead(200, {
      ...{ "content-type": "application/x-ndjson", "cache-control": "no-store" },
      ...fields,
    });
    return new LineWriter(response, { ...this.#options.limits, unreadBytesMax }, () => this.#cutOff++);
  }

  #statement(
    sql: string,
    params: readonly Parameter[],
    { rowsMax, bytesMax }: { readonly rowsMax: number; readonly bytesMax: number },
  ) {
    const { file, limits: { valueBytesMax, sqlBytesMax } } = this.#options;
    return { file, sql, params, rowsMax, bytesMax, valueBytesMax, sqlBytesMax };
  }
}

function writeRows<T>(writer: LineWriter, rows: readonly T[], lineOf: (row: T) => string): void {
  for (let at = 0; at < rows.length; at += ROWS_PER_TEXT) {
    writer.text(`${rows.slice(at, at + ROWS_PER_TEXT).map(lineOf).join("\n")}\n`);
  }
}

function textOf(changes: readonly NumberedChange[]): string {
  return changes.map(({ kind, id, values, cursor }) =>
    `{"change":{"kind":"${kind}","id":${id},"values":${values},"cursor":"${cursor}"}}\n`
  ).join("");
}

function tokenOf(place: QueryPlace): string | null {
  if ("socket" in place) return null;
  if (!isLoopback(place.address)) throw placeUnusable(`${place.address} is not a loopback address`);
  const found = tokenIn(place.token_file);
  if (found.token !== null) return found.token;
  throw placeUnusable(`the token file ${place.token_file}: ${found.reason}`);
}

function placeUnusable(what: string, cause?: unknown): GodwitError {
  return new GodwitError("query.place_unusable", `Cannot take queries of the replica: ${what}`, {
    fault: "client",
    hint: "a unix socket, or a loopback address with a token of 32 to 512 characters in a file of mode 0600",
    cause,
  });
}

const TOKEN_WRONG = new GodwitError("query.token_wrong", "This is not the token of this replica", {
  fault: "client",
  hint: "send Authorization: Bearer, with what stands in the replica's token file",
});
const NOT_FOUND = new GodwitError("query.not_found", "There is no such thing here", {
  fault: "client",
  hint: "POST /query, POST /subscribe and GET /replica are answered",
});
const CURSOR_GONE = new GodwitError("query.cursor_gone", "The changes since that cursor are not known", {
  fault: "client",
  hint: "subscribe again without `from`, and begin with the snapshot",
});

function busy(what: string): GodwitError {
  return new GodwitError("query.busy", `Cannot take another: ${what}`, {
    fault: "us",
    retryable: true,
    hint: "try again a little later",
  });
}

const STATUS: Record<string, number> = {
  "query.body_invalid": 400,
  "query.sql_invalid": 400,
  "query.forbidden": 403,
  "query.token_wrong": 401,
  "query.not_found": 404,
  "query.cursor_gone": 410,
  "query.result_too_large": 422,
  "query.memory_exceeded": 422,
  "query.time_exceeded": 422,
};

function refuse(response: ServerResponse, error: unknown): void {
  if (response.headersSent || response.destroyed) return void response.destroy();
  const known = error instanceof GodwitError ? error : null;
  const status = known === null ? 500 : STATUS[known.code] ?? 503;
  const wire = (known ?? new GodwitError("query.runner_ended", messageOf(error), { fault: "us" })).toWire();
  const text = JSON.stringify({ error: wire });
  if (status === 503) response.setHeader("retry-after", String(RETRY_AFTER_S));
  // A body that was not read to its end would be taken for the next request.
  response.writeHead(status, {
    ...{ "content-type": "application/json", "content-length": Buffer.byteLength(text) },
    connection: "close",
  });
  response.end(text);
}
