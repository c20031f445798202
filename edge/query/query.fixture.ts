/** For tests: a replica's file with rows in it, the real processes that answer queries of it, and clients. */
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { GLOBAL_STREAM, type StateEvent } from "../../control/contract/events.ts";
import { type TableName, TABLES } from "../../control/contract/rows.ts";
import { until } from "../edge.fixture.ts";
import { FolderFiles } from "../replica/replica-files.ts";
import { type ReplicaStore, storeIn } from "../replica/replica-store.ts";
import { openBunDatabase } from "../runtime/sqlite-bun.ts";
import { forkQueryServer } from "../workers/child-process.ts";
import type { QueryPlace } from "./messages.ts";
import type { QueryLimits } from "./query-limits.ts";
import { QueryService } from "./query-service.ts";

// deno-lint-ignore no-explicit-any
export type Line = Record<string, any>;

const cleanups: (() => Promise<unknown> | unknown)[] = [];
/** For `afterEach`. */
export async function cleanUp(): Promise<void> {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
}

export const appId = (name: string) => Buffer.from(name).toString("hex").padEnd(20, "0").slice(0, 20);

export class QueriedReplica {
  readonly folder = mkdtempSync(join(tmpdir(), "godwit-query-"));
  readonly file = join(this.folder, "replica.sqlite");
  readonly socket = join(this.folder, "query.sock");
  readonly #files = new FolderFiles(this.file, openBunDatabase);
  service: QueryService | null = null;
  store: ReplicaStore = this.#generation();
  port = 0;
  #seq = 0;

  async serve(limits: Partial<QueryLimits> = {}, place: QueryPlace = { socket: this.socket }) {
    let listening = false;
    this.service = QueryService.of({
      rows: { from: "redis", redis_url: "redis://nowhere", replica_file: this.file, query: place },
      fork: forkQueryServer,
      page: () => ({ connected: true }),
      log: pino({ level: process.env.QUERY_TEST_LOG ?? "silent" }),
      limits,
      onListening: (port) => {
        listening = true;
        this.port = port;
      },
    })!;
    cleanups.push(async () => {
      await this.service!.stop();
      rmSync(this.folder, { recursive: true, force: true });
    });
    this.service.start();
    await until(() => listening, 20_000);
    return this;
  }

  /** As a replicator does: rows and word of them. */
  put(table: TableName, key: string, row: object | null): void {
    this.putAll(table, [[key, row]]);
  }

  putAll(table: TableName, rows: readonly (readonly [string, object | null])[]): void {
    const events = rows.map(([key, row]): { table: TableName; event: StateEvent } => ({
      table,
      event: {
        schema: 1,
        ...{ owner: TABLES[table].scope === "global" ? "api" : `worker:${key.split("/")[0]}`, table, key },
        ...{ version: { epoch: 1, seq: ++this.#seq }, deleted: row === null, published_ms: Date.now() },
        row: row as StateEvent["row"],
      },
    }));
    this.store.apply(GLOBAL_STREAM, `${this.#seq}-0`, events, [], Date.now());
    this.service?.changed([{ table }]);
  }

  app(name: string): void {
    const id = appId(name);
    this.put("apps", id, { id, name, org_id: appId("org"), org_slug: "org", services: [] });
  }

  /** Another generation, with nothing in it yet, takes the file over; the earlier one is removed. */
  takeOver(fill: () => void): void {
    this.store = storeIn(this.#files.createNext());
    const service = this.service;
    this.service = null;
    fill();
    this.service = service;
    this.#files.takeOver();
    this.service?.takenOver();
    this.#files.prune();
  }

  #generation(): ReplicaStore {
    const store = storeIn(this.#files.createNext());
    this.#files.takeOver();
    return store;
  }

  post(path: string, body: unknown, init: RequestInit = {}): Promise<Response> {
    return fetch(`http://replica${path}`, {
      method: "POST",
      body: typeof body === "string" ? body : JSON.stringify(body),
      unix: this.socket,
      ...init,
    } as RequestInit);
  }

  async query(sql: string, params: unknown[] = []): Promise<Line[]> {
    const response = await this.post("/query", { sql, params });
    return (await response.text()).trim().split("\n").map((line) => JSON.parse(line));
  }

  /** The code that a query is refused with; null where it is not. */
  async refusal(sql: string, params: unknown[] = []): Promise<string | null> {
    const lines = await this.query(sql, params);
    return lines.at(-1)?.error?.code ?? null;
  }

  async subscribe(body: object): Promise<Subscriber> {
    const response = await this.post("/subscribe", body);
    return new Subscriber(response);
  }
}

/** Reads lines when asked to. */
export class Subscriber {
  readonly status: number;
  readonly #lines: AsyncGenerator<Line>;
  readonly #end = new AbortController();

  constructor(response: Response) {
    this.status = response.status;
    this.#lines = linesOf(response, this.#end.signal);
    cleanups.push(() => this.close());
  }

  /** The next that is no heartbeat. */
  async next(): Promise<Line | null> {
    for (;;) {
      const { value, done } = await this.#lines.next();
      if (done === true) return null;
      if (value.heartbeat === undefined) return value;
    }
  }

  async heartbeat(): Promise<Line> {
    for (;;) {
      const { value, done } = await this.#lines.next();
      if (done === true) throw new Error("no heartbeat came");
      if (value.heartbeat !== undefined) return value.heartbeat;
    }
  }

  async until(name: string): Promise<Line[]> {
    const lines: Line[] = [];
    for (;;) {
      const line = await this.next();
      if (line === null) throw new Error(`no ${name} came, only ${JSON.stringify(lines)}`);
      lines.push(line);
      if (line[name] !== undefined) return lines;
    }
  }

  async close(): Promise<void> {
    this.#end.abort();
    await this.#lines.return(undefined).catch(() => {});
  }
}

async function* linesOf(response: Response, end: AbortSignal): AsyncGenerator<Line> {
  const reader = response.body!.getReader();
  end.addEventListener("abort", () => void reader.cancel().catch(() => {}));
  const decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
    rest = lines.pop()!;
    for (const line of lines) if (line !== "") yield JSON.parse(line);
  }
  if (rest !== "") yield JSON.parse(rest);
}

/** A client that asks, and reads nothing until it is told to. */
export function lazyClient(socket: string, body: object) {
  const client = connect(socket);
  client.pause();
  const text = JSON.stringify(body);
  client.write(
    `POST /subscribe HTTP/1.1\r\nHost: replica\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
  );
  cleanups.push(() => client.destroy());
  return {
    /** All that it was sent, once the connection has ended. */
    rest: () =>
      new Promise<string>((resolve) => {
        let said = "";
        client.on("data", (bytes) => said += bytes.toString());
        client.once("close", () => resolve(said));
        client.on("error", () => {});
        client.resume();
      }),
  };
}
