/** For tests: an edge of given machines with HTTP/2 on a plain listener, and a client that speaks single frames. */
import { mkdtempSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { EdgeConfig } from "../../control/contract/process-config.ts";
import { type Edge, type EdgeOptions, startEdge } from "../edge.ts";
import { until } from "../edge.fixture.ts";
import { loadRuntime } from "../runtime/runtime.ts";
import { givenRows } from "../standalone/given-app.ts";
import { HpackDecoder } from "./hpack-decoder.ts";
import {
  ACK,
  CONTINUATION,
  DATA,
  END_HEADERS,
  END_STREAM,
  FRAME_HEADER_BYTES,
  GOAWAY,
  HEADERS,
  PING,
  PREFACE,
  RST_STREAM,
  SETTINGS,
  WINDOW_UPDATE,
} from "./protocol.ts";

export interface Http2Edge {
  readonly edge: Edge;
  readonly port: number;
  /** Of the listener with TLS, whose certificate the edge signs itself. */
  readonly tlsPort: number;
  readonly logFile: string;
  stop(): Promise<void>;
}

/** One app for every host name, with a machine at each port. */
export async function startHttp2Edge(
  machinePorts: readonly number[],
  options: EdgeOptions & { readonly h2Backend?: boolean } = {},
): Promise<Http2Edge> {
  const folder = mkdtempSync(join(tmpdir(), "godwit-http2-"));
  const logFile = join(folder, "access.log");
  const config: EdgeConfig = {
    ...EdgeConfig.parse({
      schema: 1,
      edge_id: "edge-1",
      region: "ams",
      regions: [],
      listeners: [{ address: "127.0.0.1", port: 1, service_port: 80 }],
      admin: null,
      rows: {
        from: "given",
        rows: givenRows({
          host: "*",
          region: "ams",
          servicePorts: [80, 443],
          upstreams: machinePorts.map((port) => ({ address: "127.0.0.1", port })),
          softLimit: 1_000,
          hardLimit: null,
          h2Backend: options.h2Backend ?? false,
        }),
      },
      access_log: logFile,
    }),
    listeners: [
      { address: "127.0.0.1", port: 0, service_port: 80, h2c: true },
      { address: "127.0.0.1", port: 0, service_port: 443, tls: true },
    ],
  };
  const edge = await startEdge(config, await loadRuntime(), pino({ level: "silent" }), options);
  return {
    edge,
    port: edge.ports[0]!,
    tlsPort: edge.ports[1]!,
    logFile,
    async stop() {
      await edge.stop(500);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly id: number;
  readonly payload: Buffer;
}

export function frame(type: number, flags: number, id: number, payload: Buffer | string = ""): Buffer {
  const body = typeof payload === "string" ? Buffer.from(payload, "latin1") : payload;
  const bytes = Buffer.alloc(FRAME_HEADER_BYTES + body.length);
  bytes.writeUIntBE(body.length, 0, 3);
  bytes[3] = type;
  bytes[4] = flags;
  bytes.writeUInt32BE(id, 5);
  body.copy(bytes, FRAME_HEADER_BYTES);
  return bytes;
}

/** A block of literals that touch no table: any bytes in names and values, right or wrong. */
export function block(fields: readonly (readonly [name: string, value: string])[]): Buffer {
  const string = (text: string) => {
    const bytes = Buffer.from(text, "latin1");
    if (bytes.length < 127) return Buffer.concat([Buffer.from([bytes.length]), bytes]);
    const length = [127];
    let rest = bytes.length - 127;
    for (; rest >= 128; rest >>= 7) length.push(rest & 127 | 128);
    return Buffer.concat([Buffer.from([...length, rest]), bytes]);
  };
  return Buffer.concat(fields.flatMap(([name, value]) => [Buffer.from([0]), string(name), string(value)]));
}

export type Fields = readonly (readonly [name: string, value: string])[];

export function pseudo(method = "GET", path = "/", authority = "app.test"): Fields {
  return [[":method", method], [":scheme", "http"], [":authority", authority], [":path", path]];
}

export function settings(pairs: Record<number, number> = {}): Buffer {
  const entries = Object.entries(pairs);
  const payload = Buffer.alloc(entries.length * 6);
  entries.forEach(([name, value], i) => {
    payload.writeUInt16BE(Number(name), i * 6);
    payload.writeUInt32BE(value, i * 6 + 2);
  });
  return frame(SETTINGS, 0, 0, payload);
}

export function number(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

export interface Answer {
  heads: [string, string][][];
  body: Buffer;
  ended: boolean;
  /** Of RST_STREAM. */
  reset: number | null;
}

/** Says what it is told, frame by frame, and keeps what came. It gives windows back only when asked to. */
export class FrameClient {
  readonly socket: Socket;
  readonly frames: Frame[] = [];
  readonly answers = new Map<number, Answer>();
  closed = false;
  /** Of GOAWAY. */
  goneAway: number | null = null;
  readonly #decoder = new HpackDecoder();
  #bytes: Buffer = Buffer.alloc(0);
  #block: Buffer[] = [];
  #nextId = 1;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (chunk: Buffer) => this.#read(chunk));
    socket.on("end", () => socket.end());
    socket.on("close", () => this.closed = true);
    socket.on("error", () => {});
  }

  static async open(port: number, ours: Record<number, number> = {}): Promise<FrameClient> {
    const client = await FrameClient.raw(port);
    client.send(Buffer.from(PREFACE, "latin1"), settings(ours));
    return client;
  }

  static raw(port: number): Promise<FrameClient> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port, host: "127.0.0.1" });
      socket.once("error", reject);
      socket.once("connect", () => resolve(new FrameClient(socket)));
    });
  }

  send(...frames: Buffer[]): this {
    this.socket.write(Buffer.concat(frames));
    return this;
  }

  /** @returns the stream's number */
  request(fields: Fields, ends = true): number {
    const id = this.#nextId;
    this.#nextId += 2;
    this.send(frame(HEADERS, END_HEADERS | (ends ? END_STREAM : 0), id, block(fields)));
    return id;
  }
  data(id: number, payload: Buffer | string, ends = false): this {
    return this.send(frame(DATA, ends ? END_STREAM : 0, id, payload));
  }
  reset(id: number, error = 8): this {
    return this.send(frame(RST_STREAM, 0, id, number(error)));
  }
  widen(id: number, bytes: number): this {
    return this.send(frame(WINDOW_UPDATE, 0, id, number(bytes)));
  }

  answer(id: number): Answer {
    let answer = this.answers.get(id);
    if (answer === undefined) {
      answer = { heads: [], body: Buffer.alloc(0), ended: false, reset: null };
      this.answers.set(id, answer);
    }
    return answer;
  }
  status(id: number): string | undefined {
    return this.answer(id).heads.at(-1)?.find(([name]) => name === ":status")?.[1];
  }
  /** The stream is over, one way or the other. */
  async over(id: number): Promise<Answer> {
    await until(() => this.closed || this.answer(id).ended || this.answer(id).reset !== null);
    return this.answer(id);
  }
  async end(): Promise<number | null> {
    await until(() => this.closed || this.socket.readableEnded);
    return this.goneAway;
  }
  close(): void {
    this.socket.destroy();
  }

  #read(chunk: Buffer): void {
    let bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
    while (bytes.length >= FRAME_HEADER_BYTES) {
      const length = bytes.readUIntBE(0, 3);
      if (bytes.length < FRAME_HEADER_BYTES + length) break;
      const payload = bytes.subarray(FRAME_HEADER_BYTES, FRAME_HEADER_BYTES + length);
      this.#frame({ type: bytes[3]!, flags: bytes[4]!, id: bytes.readUInt32BE(5) & 0x7fffffff, payload });
      bytes = bytes.subarray(FRAME_HEADER_BYTES + length);
    }
    this.#bytes = bytes;
  }

  #frame(got: Frame): void {
    this.frames.push(got);
    const answer = this.answer(got.id);
    if (got.type === HEADERS || got.type === CONTINUATION) {
      this.#block.push(got.payload);
      if ((got.flags & END_HEADERS) !== 0) {
        const whole = Buffer.concat(this.#block);
        this.#block = [];
        const fields: [string, string][] = [];
        if (!this.#decoder.decode(whole, 0, whole.length, { field: (f) => fields.push([f.name, f.value]) })) {
          throw new Error("the edge sent a header block that cannot be read");
        }
        answer.heads.push(fields);
      }
    }
    if (got.type === DATA) answer.body = Buffer.concat([answer.body, got.payload]);
    if ((got.type === DATA || got.type === HEADERS) && (got.flags & END_STREAM) !== 0) answer.ended = true;
    if (got.type === RST_STREAM) answer.reset = got.payload.readUInt32BE(0);
    if (got.type === PING && (got.flags & ACK) === 0) this.send(frame(PING, ACK, 0, got.payload));
    if (got.type === GOAWAY) this.goneAway = got.payload.readUInt32BE(4);
  }
}
