/**
 * A guest that means harm: whatever it answers, and however it ends, each call of the worker comes to an end, with what the
 * contract says or a GodwitError of a guest, and the worker's memory stays bounded.
 */
import { afterEach, expect, test } from "bun:test";
import fc from "fast-check";
import { mkdtempSync, rmSync } from "node:fs";
import http2, { type ServerHttp2Stream } from "node:http2";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { GodwitError } from "../../contract/errors.ts";
import { encodeCredit, encodeFrame, EXEC_WINDOW_BYTES, FrameKind } from "../../contract/exec-frames.ts";
import { ExecRequest, type FileEntry, type TerminalSize } from "../../contract/guest-api.ts";
import { GUEST_BODY_BYTES_MAX } from "../../contract/guest-limits.ts";
import { GuestClient } from "./guest-client.ts";

const RUNS = 100;
const CALL_MS = 150;
const TEST_MS = 60_000;
const LIMITS = { timeoutMs: CALL_MS, stallMs: CALL_MS };
const ITEMS_MAX = 1_000;
const MEMORY_GROWTH_MAX_MB = 64;
const SIZE: TerminalSize = { columns: 80, rows: 24 };

const folder = mkdtempSync(join(tmpdir(), "godwit-harm-"));
let ends: (() => void)[] = [];
afterEach(() => {
  for (const end of ends) end();
  ends = [];
});
process.once("exit", () => rmSync(folder, { recursive: true, force: true }));

const request = ExecRequest.parse({ shell: "x", timeout_ms: CALL_MS, output_bytes_max: 1_000 });

/** To the end, or far enough to see that it goes on. */
async function drain(items: AsyncIterable<unknown>): Promise<number> {
  let count = 0;
  for await (const _ of items) if (++count === ITEMS_MAX) break;
  return count;
}

/** Every call there is, to its end. */
const calls: Record<string, (client: GuestClient) => Promise<unknown>> = {
  status: (client) => client.status(LIMITS),
  exit: (client) => client.exit(LIMITS),
  listeners: (client) => client.listeners(LIMITS),
  stop: (client) => client.stop({ signal: "SIGTERM", timeout_s: 1 }, LIMITS),
  signal: (client) => client.signal("SIGHUP", LIMITS),
  acknowledgeExit: (client) => client.acknowledgeExit(LIMITS),
  sysinfo: (client) => client.sysinfo(LIMITS),
  processes: (client) => client.processes(LIMITS),
  metrics: (client) => client.metrics(LIMITS),
  freeze: (client) => client.freeze({ timeout_s: 1 }, LIMITS),
  thaw: (client) => client.thaw(LIMITS),
  logs: (client) => drain(client.logs({ signal: AbortSignal.timeout(CALL_MS) })),
  exec: (client) => client.exec(request, new Uint8Array(100_000), LIMITS),
  openExec: async (client) => {
    const exec = await client.openExec({ ...request, terminal: SIZE }, LIMITS);
    setTimeout(() => exec.close(), CALL_MS);
    return await drain(exec.frames());
  },
  read: async (client) => await drain((await client.files.read("/x", LIMITS)).bytes),
  write: (client) => client.files.write("/x", source(), { ...LIMITS, mode: null, replace: true }),
  list: (client) => drain(client.files.list("/", 3, LIMITS)),
};

async function* source(): AsyncGenerator<Uint8Array> {
  for (let n = 0; n < 20; n++) yield new Uint8Array(50_000);
}

const entry: FileEntry = {
  path: "/x",
  kind: "file",
  size_bytes: 10,
  mode: 0o644,
  uid: 0,
  gid: 0,
  modified_ms: 1,
  target: null,
};

/** JSON of the right names with values that may be wrong. */
const nearly = fc.record({
  phase: fc.constantFrom("running", "dancing"),
  pid: fc.oneof(fc.integer(), fc.string()),
  exit_code: fc.oneof(fc.integer(), fc.constant(0)),
  processes: fc.array(fc.anything({ maxDepth: 2 }), { maxLength: 3 }),
  listeners: fc.constant([]),
  frozen: fc.integer(),
  error: fc.oneof(
    fc.constant({ code: "guest.x", fault: "app", retryable: false, message: "m", hint: null }),
    fc.constant({
      code: "access.token_expired",
      fault: "client",
      retryable: false,
      message: "m",
      hint: null,
    }),
    fc.anything({ maxDepth: 1 }),
  ),
}).map((value) => Buffer.from(JSON.stringify(value)));

const frames = fc.array(
  fc.tuple(
    fc.constantFrom(...Object.values(FrameKind), 0, 99, 255),
    fc.oneof(
      fc.uint8Array({ maxLength: 2_000 }),
      nearly,
      fc.constant(Buffer.from('{"exit_code":0,"signal":null,"timed_out":false}')),
    ),
  ).map(([kind, payload]) => encodeFrame(kind as FrameKind, payload)),
  { maxLength: 8 },
).map((all) => Buffer.concat(all));

const body = fc.oneof(
  fc.uint8Array({ maxLength: 3_000 }).map((bytes) => Buffer.from(bytes)),
  nearly,
  frames,
  fc.json().map((text) => Buffer.from(text)),
  fc.constant(Buffer.from(`${JSON.stringify(entry)}\n`)),
  fc.constant(Buffer.alloc(GUEST_BODY_BYTES_MAX + 1, "x")),
);

const head = fc.record({
  status: fc.constantFrom(200, 204, 299, 400, 404, 500, 599),
  file: fc.constantFrom(null, "%", "x", encodeURIComponent(JSON.stringify(entry))),
});

const ending = fc.constantFrom("end", "reset", "silence", "hang up", "goaway", "flood", "trailers");

interface Answer {
  readonly head: { status: number; file: string | null } | null;
  readonly body: Buffer;
  readonly ending: "end" | "reset" | "silence" | "hang up" | "goaway" | "flood" | "trailers";
}

const answers = fc.record({ head: fc.option(head, { freq: 6 }), body, ending }) as fc.Arbitrary<Answer>;

function give(stream: ServerHttp2Stream, answer: Answer): void {
  stream.on("error", () => {});
  const { head, body, ending } = answer;
  const session = stream.session;
  if (head !== null) {
    const trailers = ending === "trailers" && head.status !== 204;
    stream.respond({
      ":status": head.status,
      ...(head.file === null ? {} : { "godwit-file": head.file }),
    }, { waitForTrailers: trailers });
    if (trailers) stream.on("wantTrailers", () => stream.sendTrailers({ "x-more": "x" }));
    if (head.status !== 204) stream.write(body);
  }
  if (ending === "end" || ending === "trailers") {
    if (head === null) stream.close();
    else stream.end();
  } else if (ending === "reset") stream.close(2);
  else if (ending === "hang up") session?.destroy();
  else if (ending === "goaway") session?.goaway(1);
  else if (ending === "flood" && head !== null && head.status !== 204) flood(stream, body);
}

function flood(stream: ServerHttp2Stream, piece: Buffer): void {
  if (piece.length > 0) void pourInto(stream, () => piece);
}

/** Writes for as long as anybody takes it, and lets the event loop in between. */
async function pourInto(
  stream: Duplex & { readonly closed: boolean },
  piece: () => Uint8Array,
): Promise<void> {
  let drained = Promise.withResolvers<void>();
  const wake = () => {
    drained.resolve();
    drained = Promise.withResolvers();
  };
  for (const event of ["drain", "close", "error"]) stream.on(event, wake);
  while (!stream.destroyed && !stream.closed && !stream.writableEnded) {
    if (stream.write(piece())) await new Promise((resolve) => setImmediate(resolve));
    else await drained.promise;
  }
}

let count = 0;
async function against(server: Server | http2.Http2Server, call: (client: GuestClient) => Promise<unknown>) {
  const path = join(folder, `${++count}.sock`);
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const socket = connect(path);
  await new Promise((resolve) => socket.once("connect", resolve));
  const client = new GuestClient(socket);
  try {
    return await call(client);
  } finally {
    client.close();
    server.close();
  }
}

/** Null where the call came to something, else the code of its error. */
async function outcomeOf(call: Promise<unknown>): Promise<string | null> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error("the call never ended")), 20 * CALL_MS);
  try {
    await Promise.race([call, late.promise]);
    return null;
  } catch (error) {
    if (error instanceof GodwitError) return error.code;
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** What each outcome comes of for certain; the random answers need not hit it. */
const REFUSAL = { code: "guest.x", fault: "app", retryable: false, message: "m", hint: null };
const certain: [string, Answer][] = [
  ["listeners", {
    head: { status: 400, file: null },
    body: Buffer.from(JSON.stringify({ error: REFUSAL })),
    ending: "end",
  }],
  ["sysinfo", { head: null, body: Buffer.alloc(0), ending: "silence" }],
  ["status", { head: { status: 200, file: null }, body: Buffer.from("{}"), ending: "end" }],
  ["stop", { head: { status: 204, file: null }, body: Buffer.alloc(0), ending: "end" }],
];

test("a guest that answers anything gets no call beyond a GodwitError of a guest", async () => {
  const codes = new Set<string | null>();
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...Object.keys(calls)), answers, async (name, answer) => {
      const server = http2.createServer();
      server.on("sessionError", () => {});
      server.on("session", (session) => session.on("error", () => {}));
      server.on("stream", (stream: ServerHttp2Stream) => give(stream, answer));
      const outcome = await outcomeOf(against(server, calls[name]!));
      codes.add(outcome);
      expect(outcome ?? "guest.").toStartWith("guest.");
    }),
    // A few times: Bun drops a body now and then in the moment of its end.
    { numRuns: RUNS, examples: [...certain, ...certain, ...certain] },
  );
  for (const code of ["guest.protocol_error", "guest.timeout", "guest.x", null]) {
    expect(codes).toContain(code);
  }
}, TEST_MS);

/** Bytes on the wire, well-formed frames of HTTP/2 or none. */
const wire = fc.array(
  fc.oneof(
    fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
    fc.tuple(
      fc.integer({ min: 0, max: 12 }),
      fc.integer({ min: 0, max: 255 }),
      fc.constantFrom(0, 1, 2, 3),
      fc.uint8Array({ maxLength: 300 }),
    )
      .map(([type, flags, id, payload]) => frameOf(type, flags, id, payload)),
  ),
  { maxLength: 12 },
).map((parts) => Buffer.concat(parts));

function frameOf(type: number, flags: number, id: number, payload: Uint8Array): Buffer {
  const frame = Buffer.alloc(9 + payload.length);
  frame.writeUIntBE(payload.length, 0, 3);
  frame[3] = type;
  frame[4] = flags;
  frame.writeUInt32BE(id, 5);
  frame.set(payload, 9);
  return frame;
}

const SETTINGS = frameOf(4, 0, 0, new Uint8Array(0));
/** HPACK's first entry of status 200 (RFC 7541, appendix A). */
const HEAD_200 = frameOf(1, 4, 1, Uint8Array.of(0x88));

function rawGuest(onWords: (socket: Socket) => void): Server {
  return createServer((socket) => {
    ends.push(() => socket.destroy());
    socket.on("error", () => {});
    socket.once("data", () => onWords(socket));
    socket.resume();
  });
}

test("a guest that does not even speak HTTP/2 gets no call beyond a GodwitError of a guest", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...Object.keys(calls)),
      fc.boolean(),
      wire,
      async (name, polite, bytes) => {
        const server = rawGuest((socket) => socket.write(polite ? Buffer.concat([SETTINGS, bytes]) : bytes));
        expect(await outcomeOf(against(server, calls[name]!)) ?? "guest.").toStartWith("guest.");
      },
    ),
    { numRuns: RUNS },
  );
}, TEST_MS);

const FLOODS: Record<string, readonly Buffer[]> = {
  "data beyond its window": [HEAD_200, frameOf(0, 0, 1, new Uint8Array(16_384))],
  "pings": [SETTINGS, Buffer.concat(Array.from({ length: 500 }, () => frameOf(6, 0, 0, new Uint8Array(8))))],
  "settings": [SETTINGS, Buffer.concat(Array.from({ length: 500 }, () => SETTINGS))],
  "endless header fields": [
    frameOf(1, 0, 1, Uint8Array.of(0x88)),
    frameOf(9, 0, 1, new Uint8Array(16_384).fill(0x40)),
  ],
  "heads without end": [SETTINGS, HEAD_200],
  "frames that nobody knows": [SETTINGS, frameOf(77, 0, 0, new Uint8Array(16_000))],
  "pushes": [SETTINGS, frameOf(5, 4, 1, Uint8Array.of(0, 0, 0, 2, 0x88))],
};

test.each(Object.entries(FLOODS))(
  "a guest that floods with %s takes no memory",
  async (_, [first, piece]) => {
    const before = process.memoryUsage.rss();
    let peak = before;
    const server = rawGuest((socket) => {
      if (first !== SETTINGS) socket.write(SETTINGS);
      socket.write(first!);
      const more = () => {
        while (!socket.destroyed && socket.write(piece!));
      };
      socket.on("drain", more);
      more();
    });
    const watch = setInterval(() => peak = Math.max(peak, process.memoryUsage.rss()), 10);
    const outcome = await outcomeOf(against(server, calls.openExec!));
    clearInterval(watch);
    expect(outcome).toStartWith("guest.");
    expect((peak - before) / 1_048_576).toBeLessThan(MEMORY_GROWTH_MAX_MB);
  },
  TEST_MS,
);

test(
  "a guest that sends more output than it has credit for is hung up on, and what was read stays little",
  async () => {
    const server = http2.createServer();
    server.on("sessionError", () => {});
    server.on("stream", (stream: ServerHttp2Stream) => {
      stream.on("error", () => {});
      stream.respond({ ":status": 200 });
      void pourInto(stream, () => encodeFrame(FrameKind.stdout, new Uint8Array(16_000)));
    });
    await against(server, async (client) => {
      const exec = await client.openExec(request, LIMITS);
      // Nobody takes a frame until the guest has gone too far.
      await Bun.sleep(2 * CALL_MS);
      let bytes = 0;
      const reading = (async () => {
        for await (const frame of exec.frames()) if (frame.kind === "stdout") bytes += frame.bytes.length;
      })();
      expect(await outcomeOf(reading)).toBe("guest.protocol_error");
      expect(bytes).toBeLessThanOrEqual(EXEC_WINDOW_BYTES);
    });
  },
  TEST_MS,
);

test("a guest that gives credit for stdin that it never had is hung up on", async () => {
  const server = http2.createServer();
  server.on("sessionError", () => {});
  server.on("stream", (stream: ServerHttp2Stream) => {
    stream.on("error", () => {});
    stream.respond({ ":status": 200 });
    stream.write(encodeCredit(FrameKind.stdinCredit, 1));
  });
  await against(server, async (client) => {
    const exec = await client.openExec(request, LIMITS);
    expect(await outcomeOf(drain(exec.frames()))).toBe("guest.protocol_error");
  });
}, TEST_MS);
