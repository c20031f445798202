/** For tests: an edge on ports of its own with a real Redis, rows published as their owners publish them, raw clients. */
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { pino } from "pino";
import { GLOBAL_STREAM, regionStream } from "../control/contract/events.ts";
import { startedMachine } from "../control/contract/machine-row.fixture.ts";
import { rawBatch } from "../control/contract/stream-entry.fixture.ts";
import { type MachineRow, type TableName, TABLES } from "../control/contract/rows.ts";
import { EdgeConfig, type EdgeListener, type EdgeTls } from "../control/contract/process-config.ts";
import { startOwnRedis } from "../deploy/servers/testbed.ts";
import { type Edge, type EdgeOptions, startEdge } from "./edge.ts";
import { loadRuntime } from "./runtime/runtime.ts";

export const REGION = "ams";
export const HOST_ID = "host-1";

let sequence = 0;

export function idOf(name: string, digits = 20): string {
  return Buffer.from(name).toString("hex").padEnd(digits, "0").slice(0, digits);
}

export interface TestEdge {
  readonly edge: Edge;
  readonly port: number;
  readonly adminPort: number;
  /** Stands for service port 443; 0 where the edge was started without TLS. */
  readonly tlsPort: number;
  readonly folder: string;
  /** As admin. */
  readonly redis: Redis;
  readonly stopRedis: () => Promise<void>;
  readonly logFile: string;
  publish(table: string, key: string, row: unknown, options?: PublishOptions): Promise<void>;
  /** An app `NAME` with host name `NAME.test` and one machine at `port`; returns when it is routed. */
  app(name: string, port: number, machine?: Partial<MachineRow>): Promise<void>;
  machine(name: string, port: number, machine?: Partial<MachineRow>): Promise<void>;
  /** Resolves when what has been published so far is routed. */
  settled(): Promise<void>;
  stop(): Promise<void>;
}

export interface PublishOptions {
  readonly owner?: string;
  readonly stream?: string;
  readonly seq?: number;
}

export async function startTestEdge(
  options: EdgeOptions & {
    regions?: string[];
    privateKeySets?: boolean;
    listener?: Partial<EdgeListener>;
    tracing?: { otlp_url: string; sample_ratio: number };
    tls?: EdgeTls;
    history?: { rows_max: number; kept_s: number };
  } = {},
): Promise<TestEdge> {
  const server = await startOwnRedis();
  const folder = mkdtempSync(join(tmpdir(), "godwit-edge-"));
  const logFile = join(folder, "access.log");
  const config: EdgeConfig = {
    ...EdgeConfig.parse({
      schema: 1,
      edge_id: "edge-1",
      region: REGION,
      regions: options.regions ?? [REGION],
      listeners: [{ address: "127.0.0.1", port: 1, service_port: 80 }],
      admin: { address: "127.0.0.1", port: 1 },
      rows: {
        ...{ from: "redis", redis_url: server.urlOf("edge"), replica_file: join(folder, "replica.sqlite") },
        history: options.history,
      },
      access_log: logFile,
      tracing: options.tracing,
      private_key_sets: options.privateKeySets ?? false,
    }),
    listeners: [
      { address: "127.0.0.1", port: 0, service_port: 80, ...options.listener },
      ...(options.tls === undefined ? [] : [{ address: "127.0.0.1", port: 0, service_port: 443, tls: true }]),
    ],
    ...(options.tls === undefined ? {} : { tls: options.tls }),
    admin: { address: "127.0.0.1", port: 0 },
  };
  const edge = await startEdge(config, await loadRuntime(), pino({ level: "silent" }), options);
  const redis = new Redis(server.urlOf("admin"), { maxRetriesPerRequest: null });
  redis.on("error", () => {});
  const [port = 0, ...otherPorts] = edge.ports;
  const adminPort = otherPorts.at(-1)!;
  const tlsPort = options.tls === undefined ? 0 : otherPorts[0]!;

  const publish: TestEdge["publish"] = async (table, key, row, { owner, stream, seq } = {}) => {
    const global = TABLES[table as TableName]?.scope === "global";
    const event = {
      schema: 1,
      owner: owner ?? (global ? "api" : `worker:${HOST_ID}`),
      table,
      key,
      version: { epoch: 1, seq: seq ?? ++sequence },
      deleted: row === null,
      row,
      published_ms: Date.now(),
    };
    await redis.xadd(
      stream ?? (global ? GLOBAL_STREAM : regionStream(REGION)),
      "*",
      ...rawBatch(JSON.stringify(event)),
    );
  };
  const machine: TestEdge["machine"] = async (name, target, fields = {}) => {
    const id = fields.id ?? idOf(`m${name}`, 14);
    const row = startedMachine(target, {
      id,
      app_id: idOf(name),
      host_id: HOST_ID,
      region: REGION,
      ...fields,
    });
    await publish("machines", `${row.host_id}/${id}`, row, {
      owner: `worker:${row.host_id}`,
      stream: regionStream(row.region),
    });
  };
  /** A host name and a machine that come after all others of their streams: who routes by them has taken in the others. */
  const settled = async () => {
    const mark = `settle-${++sequence}`;
    await publish("hostnames", `${mark}.test`, { hostname: `${mark}.test`, app_id: idOf(mark) });
    await machine(mark, 1, { state: "created", address4: null });
    await until(() => edge.routes.find(`${mark}.test`)?.machine(idOf(`m${mark}`, 14)) != null);
  };
  return {
    edge,
    port,
    adminPort,
    tlsPort,
    folder,
    redis,
    logFile,
    publish,
    settled,
    machine,
    stopRedis: () => server.stop(),
    async app(name, target, fields) {
      const id = idOf(name);
      await publish("apps", id, { id, name, org_id: idOf("org"), org_slug: "org", services: [] });
      await publish("hostnames", `${name}.test`, { hostname: `${name}.test`, app_id: id });
      await machine(name, target, fields);
      await settled();
    },
    async stop() {
      await edge.stop(1_000);
      redis.disconnect();
      await server.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

export async function until(holds: () => boolean | Promise<boolean>, waitMsMax = 10_000): Promise<void> {
  const end = performance.now() + waitMsMax;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`waited ${waitMsMax} ms in vain for: ${holds}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** A client of bytes: what it sent stays sent, what came back is in `text`. */
export class RawClient {
  readonly socket: Socket;
  bytes: Buffer = Buffer.alloc(0);
  ended = false;
  closed = false;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (chunk: Buffer) => this.bytes = Buffer.concat([this.bytes, chunk]));
    socket.on("end", () => this.ended = true);
    socket.on("close", () => this.closed = true);
    socket.on("error", () => {});
  }

  static open(port: number, localAddress = "127.0.0.1"): Promise<RawClient> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port, host: "127.0.0.1", localAddress, allowHalfOpen: true });
      socket.once("error", reject);
      socket.once("connect", () => resolve(new RawClient(socket)));
    });
  }

  get text(): string {
    return this.bytes.toString("latin1");
  }
  send(text: string): this {
    this.socket.write(Buffer.from(text, "latin1"));
    return this;
  }
  async has(part: string): Promise<string> {
    await until(() => this.text.includes(part) || this.closed);
    if (!this.text.includes(part)) throw new Error(`closed without ${JSON.stringify(part)}: ${this.text}`);
    return this.text;
  }
  async end(): Promise<string> {
    await until(() => this.ended || this.closed);
    return this.text;
  }
  close(): void {
    this.socket.destroy();
  }
}

/** A machine's app made of bytes: `onData` sees all that came on a connection so far. */
export interface RawUpstream {
  readonly port: number;
  readonly connections: { socket: Socket; text: string; closed: boolean }[];
  readonly server: Server;
  stop(): Promise<void>;
}

export function startRawUpstream(
  onData: (connection: { socket: Socket; text: string; closed: boolean }, index: number) => void,
): Promise<RawUpstream> {
  const connections: RawUpstream["connections"] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const connection = { socket, text: "", closed: false };
    const index = connections.push(connection) - 1;
    socket.on("data", (chunk: Buffer) => {
      connection.text += chunk.toString("latin1");
      onData(connection, index);
    });
    socket.on("end", () => socket.end());
    socket.on("close", () => connection.closed = true);
    socket.on("error", () => {});
  });
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      resolve({
        port: typeof address === "object" && address !== null ? address.port : 0,
        connections,
        server,
        stop() {
          for (const { socket } of connections) socket.destroy();
          return new Promise((done) => server.close(() => done()));
        },
      });
    });
  });
}

/** A port that nothing listens on. */
export async function closedPort(): Promise<number> {
  const upstream = await startRawUpstream(() => {});
  await upstream.stop();
  return upstream.port;
}
