/** gRPC end to end: a real client and a real server (@grpc/grpc-js), the edge between them with TLS in front and HTTP/2 both ways. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  Client,
  credentials,
  type handleBidiStreamingCall,
  type handleClientStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  Metadata,
  Server,
  ServerCredentials,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import { until } from "../edge.fixture.ts";
import { type Http2Edge, startHttp2Edge } from "./http2.fixture.ts";

const MESSAGE_BYTES = 4_000_000;
const bytes = (value: Buffer) => value;
const method = (name: string, requestStream: boolean, responseStream: boolean) => ({
  path: `/test.Echo/${name}`,
  requestStream,
  responseStream,
  requestSerialize: bytes,
  requestDeserialize: bytes,
  responseSerialize: bytes,
  responseDeserialize: bytes,
});
const unary = method("Unary", false, false);
const download = method("Download", false, true);
const upload = method("Upload", true, false);
const chat = method("Chat", true, true);
const fail = method("Fail", false, false);
const never = method("Never", false, false);

let server: Server;
let edge: Http2Edge;
let client: Client;
let cancelled = 0;

beforeAll(async () => {
  server = new Server({ "grpc.max_receive_message_length": MESSAGE_BYTES * 2 });
  const service = { unary, download, upload, chat, fail, never };
  server.addService(service, {
    unary: ((call, done) => {
      const trailers = new Metadata();
      trailers.set("x-seen", String(call.metadata.get("x-sent")[0] ?? ""));
      trailers.set("x-data-bin", Buffer.from([0, 1, 255]));
      done(null, call.request, trailers);
    }) as handleUnaryCall<Buffer, Buffer>,
    download: ((call) => {
      for (let i = 0; i < 100; i++) call.write(Buffer.concat([call.request, Buffer.from(String(i))]));
      call.end();
    }) as handleServerStreamingCall<Buffer, Buffer>,
    upload: ((call, done) => {
      let total = 0;
      call.on("data", (message: Buffer) => total += message.length);
      call.on("end", () => done(null, Buffer.from(String(total))));
    }) as handleClientStreamingCall<Buffer, Buffer>,
    chat: ((call) => {
      call.on("data", (message: Buffer) => call.write(Buffer.concat([Buffer.from("re: "), message])));
      call.on("end", () => call.end());
    }) as handleBidiStreamingCall<Buffer, Buffer>,
    fail: ((_call, done) => {
      const metadata = new Metadata();
      metadata.set("x-why", "because");
      done({ code: status.FAILED_PRECONDITION, details: "not now: ü", metadata });
    }) as handleUnaryCall<Buffer, Buffer>,
    never: ((call) => void call.on("cancelled", () => cancelled++)) as handleUnaryCall<Buffer, Buffer>,
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) => {
      if (error === null) resolve(bound);
      else reject(error);
    });
  });
  edge = await startHttp2Edge([port], { h2Backend: true });
  const secure = credentials.createSsl(null, null, null, { rejectUnauthorized: false });
  client = new Client(`127.0.0.1:${edge.tlsPort}`, secure, {
    // A name: what the client checks and sends in its handshake cannot be an address.
    "grpc.ssl_target_name_override": "app.test",
    "grpc.default_authority": "app.test",
    "grpc.max_receive_message_length": MESSAGE_BYTES * 2,
  });
});
afterAll(async () => {
  client.close();
  await edge.stop();
  server.forceShutdown();
});

interface Outcome {
  error: ServiceError | null;
  value: Buffer | undefined;
  trailers: Metadata;
}

function call(path: string, message: Buffer, options: { deadline?: Date } = {}): Promise<Outcome> {
  return new Promise((resolve) => {
    const metadata = new Metadata();
    metadata.set("x-sent", "yes");
    let trailers = new Metadata();
    let outcome: Omit<Outcome, "trailers"> | null = null;
    const running = client.makeUnaryRequest(
      path,
      bytes,
      bytes,
      message,
      metadata,
      options,
      (error, value) => {
        outcome = { error, value };
      },
    );
    running.on("status", (end) => {
      trailers = end.metadata;
      resolve({ ...outcome!, trailers });
    });
  });
}

describe("gRPC through the edge", () => {
  test("unary, with metadata and trailers both ways", async () => {
    const { error, value, trailers } = await call(unary.path, Buffer.from("hello"));
    expect(error).toBeNull();
    expect(value?.toString()).toBe("hello");
    expect(trailers.get("x-seen")).toEqual(["yes"]);
    expect(trailers.get("x-data-bin")).toEqual([Buffer.from([0, 1, 255])]);
  });

  test("an empty message, and one of 4 MB", async () => {
    expect((await call(unary.path, Buffer.alloc(0))).value?.length).toBe(0);
    const large = Buffer.alloc(MESSAGE_BYTES).map((_, i) => i % 251);
    expect((await call(unary.path, Buffer.from(large))).value?.equals(Buffer.from(large))).toBe(true);
  });

  test("a stream from the server", async () => {
    const running = client.makeServerStreamRequest(download.path, bytes, bytes, Buffer.from("n"));
    const got: string[] = [];
    for await (const message of running) got.push(String(message));
    expect(got).toEqual(Array.from({ length: 100 }, (_, i) => `n${i}`));
  });

  test("a stream from the client", async () => {
    const value = await new Promise<Buffer | undefined>((resolve, reject) => {
      const running = client.makeClientStreamRequest(upload.path, bytes, bytes, (error, answer?: Buffer) => {
        if (error === null) resolve(answer);
        else reject(error);
      });
      for (let i = 0; i < 100; i++) running.write(Buffer.alloc(10_000));
      running.end();
    });
    expect(value?.toString()).toBe("1000000");
  });

  test("a conversation, each word answered before the next", async () => {
    const running = client.makeBidiStreamRequest(chat.path, bytes, bytes);
    const got: string[] = [];
    running.on("data", (message: Buffer) => {
      got.push(String(message));
      if (got.length === 20) running.end();
      else running.write(Buffer.from(String(got.length)));
    });
    const ended = new Promise((resolve, reject) => running.on("end", resolve).on("error", reject));
    running.write(Buffer.from("0"));
    await ended;
    expect(got).toEqual(Array.from({ length: 20 }, (_, i) => `re: ${i}`));
  });

  test("an error in trailers alone keeps its code, words and metadata", async () => {
    const { error } = await call(fail.path, Buffer.from("x"));
    expect(error?.code).toBe(status.FAILED_PRECONDITION);
    expect(error?.details).toBe("not now: ü");
    expect(error?.metadata.get("x-why")).toEqual(["because"]);
  });

  test("an unknown method is UNIMPLEMENTED", async () => {
    expect((await call("/test.Echo/Nothing", Buffer.alloc(1))).error?.code).toBe(status.UNIMPLEMENTED);
  });

  test("a deadline that passes cancels the call at the server", async () => {
    const before = cancelled;
    const { error } = await call(never.path, Buffer.alloc(1), { deadline: new Date(Date.now() + 100) });
    expect(error?.code).toBe(status.DEADLINE_EXCEEDED);
    await until(() => cancelled === before + 1);
  });

  test("a client that cancels is heard at the server", async () => {
    const before = cancelled;
    const running = client.makeUnaryRequest(never.path, bytes, bytes, Buffer.alloc(1), () => {});
    await until(async () => (await call(unary.path, Buffer.alloc(1))).error === null);
    running.cancel();
    await until(() => cancelled === before + 1);
  });

  test("a hundred calls at once", async () => {
    const all = await Promise.all(
      Array.from({ length: 100 }, (_, i) => call(unary.path, Buffer.from(String(i)))),
    );
    expect(all.map(({ value }) => String(value))).toEqual(all.map((_, i) => String(i)));
  });
});
