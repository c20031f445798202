/** Against a real node:http2 server on a unix socket where the guest behaves, a bare socket where it does not. */
import { afterEach, expect, test } from "bun:test";
import http2, { type ServerHttp2Stream } from "node:http2";
import { createServer, type Server, type Socket } from "node:net";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { GUEST_BODY_BYTES_MAX, type GuestStatus } from "../../contract/guest-api.ts";
import { openControlStream } from "./control-stream.ts";
import { GuestClient } from "./guest-client.ts";

const folder = mkdtempSync(join(tmpdir(), "godwit-guest-client-"));
const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
  rmSync(folder, { recursive: true, force: true });
});

type Handler = (stream: ServerHttp2Stream, path: string, body: string) => void;

/** A client of a guest that answers by `handler`, and the guest's end of the wire. */
async function guest(handler: Handler): Promise<GuestClient> {
  const server = http2.createServer();
  server.on("sessionError", () => {}); // The client's brutal end is part of these tests.
  server.on("stream", (stream: ServerHttp2Stream, headers) => {
    let body = "";
    stream.on("error", () => {});
    stream.on("data", (chunk) => body += chunk);
    stream.on("end", () => handler(stream, `${headers[":method"]} ${headers[":path"]}`, body));
  });
  return await clientOf(server);
}

async function badGuest(onConnect: (socket: Socket) => void): Promise<GuestClient> {
  return await clientOf(createServer((socket) => {
    socket.on("error", () => {});
    socket.resume();
    onConnect(socket);
  }));
}

async function clientOf(server: Server | http2.Http2Server): Promise<GuestClient> {
  const path = join(mkdtempSync(join(tmpdir(), "godwit-guest-")), "guest.sock");
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const stream = await openControlStream(path, new Promise(() => {}), AbortSignal.timeout(5_000));
  const client = new GuestClient(stream);
  closers.push(() => {
    client.close();
    server.close();
    rmSync(join(path, ".."), { recursive: true, force: true });
  });
  return client;
}

function answer(stream: ServerHttp2Stream, body: unknown, status = 200): void {
  stream.respond({ ":status": status, "content-type": "application/json" });
  stream.end(typeof body === "string" ? body : JSON.stringify(body));
}

const running: GuestStatus = {
  schema: 1,
  phase: "running",
  pid: 42,
  steps: [{ step: "mounts", ms: 3, skipped: null }],
  failure: null,
  exit: null,
  uptime_s: 1.5,
  clock_ms: 1_700_000_000_000,
  memory_available_mb: 180,
  init_rss_kb: 25_000,
  init_rss_anon_kb: 9_000,
};

/** The code of what the call rejects with. */
async function codeOf(call: Promise<unknown>): Promise<string> {
  return await call.then(() => "none", (error) => error.code ?? String(error));
}

test("GuestClient makes each call of the guest's API", async () => {
  const calls: string[] = [];
  const client = await guest((stream, path, body) => {
    calls.push(`${path} ${body}`.trim());
    if (path === "GET /v1/status?wait_ms=50") return answer(stream, running);
    if (path === "GET /v1/listeners") return answer(stream, { listeners: [] });
    if (path === "GET /v1/exit") {
      return answer(stream, { exit_code: 3, signal: null, oom_killed: false, at_ms: 1 });
    }
    if (path === "GET /v1/exit?run=2") {
      return answer(stream, { exit_code: 4, signal: null, oom_killed: false, at_ms: 1, run: 2 });
    }
    if (path === "POST /v1/resumed") return answer(stream, { clock_step_ms: -7 });
    answer(stream, "", path === "POST /v1/stop" ? 202 : 204);
  });
  expect(await client.status({ waitMs: 50 })).toEqual(running);
  expect(await client.listeners()).toEqual({ listeners: [] });
  expect((await client.exit()).exit_code).toBe(3);
  expect((await client.exit({ run: 2 })).exit_code).toBe(4);
  await client.restart({ run: 1, after_ms: 20 });
  expect(await client.resumed({ host_clock_ms: 9, entropy: "AAAA" })).toEqual({ clock_step_ms: -7 });
  await client.stop({ signal: "SIGTERM", timeout_s: 5 });
  await client.signal("SIGHUP");
  await client.acknowledgeExit();
  expect(calls).toEqual([
    "GET /v1/status?wait_ms=50",
    "GET /v1/listeners",
    "GET /v1/exit",
    "GET /v1/exit?run=2",
    'POST /v1/restart {"run":1,"after_ms":20}',
    'POST /v1/resumed {"host_clock_ms":9,"entropy":"AAAA"}',
    'POST /v1/stop {"signal":"SIGTERM","timeout_s":5}',
    'POST /v1/signals {"signal":"SIGHUP"}',
    "POST /v1/exit-ack",
  ]);
});

test("GuestClient runs calls beside each other while one waits in the guest", async () => {
  const waiting: ServerHttp2Stream[] = [];
  const client = await guest((stream, path) => {
    if (path === "GET /v1/exit") waiting.push(stream);
    else answer(stream, running);
  });
  const exit = client.exit();
  for (let i = 0; i < 20; i++) expect((await client.status()).phase).toBe("running");
  expect(waiting.length).toBe(1);
  answer(waiting[0]!, { exit_code: 0, signal: null, oom_killed: false, at_ms: 1 });
  expect((await exit).exit_code).toBe(0);
});

test("GuestClient.logs() yields lines as they come, from the sequence number asked for", async () => {
  let write: (text: string) => void = () => {};
  const client = await guest((stream, path) => {
    expect(path).toBe("GET /v1/logs?from=7");
    stream.respond({ ":status": 200 });
    write = (text) => stream.write(text);
    write('{"seq":7,"stream":"stdout","at_ms":1,"line":"one"}\n{"seq":8,"stream":"std');
  });
  const logs = client.logs({ from: 7 });
  expect((await logs.next()).value?.line).toBe("one");
  write('err","at_ms":2,"line":"two"}\n');
  expect((await logs.next()).value).toEqual({ seq: 8, stream: "stderr", at_ms: 2, line: "two" });
  await logs.return();
});

test("GuestClient.logs() ends quietly when it is aborted", async () => {
  const abort = new AbortController();
  const client = await guest((stream) => {
    stream.respond({ ":status": 200 });
    stream.write('{"seq":0,"stream":"stdout","at_ms":1,"line":"one"}\n');
  });
  const lines: string[] = [];
  for await (const { line } of client.logs({ signal: abort.signal })) {
    lines.push(line);
    abort.abort();
  }
  expect(lines).toEqual(["one"]);
});

test("GuestClient.logs() refuses a line without end", async () => {
  const client = await guest((stream) => {
    stream.respond({ ":status": 200 });
    stream.end("x".repeat(300_000));
  });
  expect(await codeOf(client.logs().next())).toBe("guest.protocol_error");
});

test("GuestClient passes the guest's own typed error on", async () => {
  const error = {
    code: "guest.no_process",
    fault: "app",
    retryable: false,
    message: "nothing runs",
    hint: null,
  };
  const client = await guest((stream) => answer(stream, { error }, 409));
  expect(await codeOf(client.signal("SIGHUP"))).toBe("guest.no_process");
});

test("GuestClient refuses answers that are no JSON, another shape, too long or an unexplained failure", async () => {
  const bodies: Record<string, [unknown, number]> = {
    json: ["not json", 200],
    shape: [{ ...running, phase: "dancing" }, 200],
    long: ["x".repeat(GUEST_BODY_BYTES_MAX + 1), 200],
    status: ["boom", 500],
  };
  for (const [body, status] of Object.values(bodies)) {
    const client = await guest((stream) => answer(stream, body, status));
    expect(await codeOf(client.status())).toBe("guest.protocol_error");
  }
});

test("GuestClient gives up on a guest that never answers", async () => {
  const client = await guest(() => {});
  expect(await codeOf(client.status({ timeoutMs: 30 }))).toBe("guest.timeout");
});

test("GuestClient cancels a call when its signal aborts", async () => {
  const abort = new AbortController();
  const client = await guest(() => abort.abort(new Error("enough")));
  expect(await codeOf(client.exit({ signal: abort.signal }))).toBe("Error: enough");
});

test("GuestClient survives a peer that talks garbage", async () => {
  const garbage = [
    "HTTP/1.1 200 OK\r\n\r\nhello",
    Buffer.alloc(100_000, 0xff),
    Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 1, 9, 0, 0, 0, 1]),
  ];
  for (const bytes of garbage) {
    const client = await badGuest((socket) => socket.write(bytes));
    expect(await codeOf(client.status({ timeoutMs: 500 }))).toBe("guest.protocol_error");
  }
});

test("GuestClient fails its calls when the stream ends", async () => {
  const client = await badGuest((socket) => socket.once("data", () => socket.destroy()));
  expect(["guest.gone", "guest.protocol_error"]).toContain(await codeOf(client.exit()));
  await client.closed;
  expect(await codeOf(client.status())).toMatch(/^guest\.(gone|protocol_error)$/);
});
