/**
 * The example app: a small HTTP server that says where it runs, read from its own surroundings, and has a path for each kind
 * of traffic that an edge must carry (plain, streamed both ways, WebSocket, server-sent events).
 */
import { networkInterfaces } from "node:os";
import { readFileSync } from "node:fs";
import { page } from "./page.ts";
import { patternStream } from "./pattern.ts";

export interface Facts {
  app: string | null;
  machine: string | null;
  region: string | null;
  /** Of the kernel this runs on: the guest's in a VM. */
  kernel: string;
  /** Name of process 1. */
  pid1: string;
  uptime_s: number;
  memory_mb: number;
  private_ip: string | null;
}

const PORT_DEFAULT = 8080;
const BODY_BYTES_MAX = 1024 * 1_048_576;
const BYTES_MAX = 4 * 1024 * 1_048_576;
const SIZED_BYTES_MAX = 4 * 1_048_576;
const EVENTS_MAX = 1_000;
const EVENT_INTERVAL_MS_MAX = 10_000;
const IDLE_S_MAX = 120;
/** After SIGTERM, answers under way get this long. */
const DRAIN_MS_MAX = 3_000;

export function readFacts(): Facts {
  const read = (file: string) => readFileSync(file, "utf8").trim();
  const memory = /^MemTotal:\s+(\d+) kB$/m.exec(read("/proc/meminfo"))?.[1];
  return {
    app: process.env.FLY_APP_NAME ?? null,
    machine: process.env.FLY_MACHINE_ID ?? null,
    region: process.env.FLY_REGION ?? null,
    kernel: read("/proc/sys/kernel/osrelease"),
    pid1: read("/proc/1/comm"),
    uptime_s: Number(read("/proc/uptime").split(" ")[0]),
    memory_mb: Math.floor(Number(memory ?? 0) / 1024),
    private_ip: process.env.FLY_PRIVATE_IP ?? firstPrivateAddress(),
  };
}

function firstPrivateAddress(): string | null {
  const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  const own = addresses.filter((a) => !a.internal && !a.address.startsWith("fe80:"));
  return (own.find((a) => a.family === "IPv6") ?? own[0])?.address ?? null;
}

export function answer(request: Request): Response | Promise<Response> {
  const url = new URL(request.url);
  switch (url.pathname) {
    case "/":
      return root(request);
    case "/health":
      return new Response("ok\n");
    case "/echo":
      return echo(request);
    case "/bytes":
      return bytes(url);
    case "/events":
      return events(url, request.signal);
    default:
      return new Response("no such page\n", { status: 404 });
  }
}

function root(request: Request): Response {
  const facts = readFacts();
  const headers = { "cache-control": "no-store", vary: "accept" };
  if (!request.headers.get("accept")?.includes("text/html")) {
    return new Response(JSON.stringify(facts) + "\n", {
      headers: { ...headers, "content-type": "application/json" },
    });
  }
  return new Response(page(facts), { headers: { ...headers, "content-type": "text/html; charset=utf-8" } });
}

/** The body streams back as it comes; the headers that arrived come back under `x-echo-`. */
function echo(request: Request): Response {
  const headers = new Headers({
    "content-type": request.headers.get("content-type") ?? "application/octet-stream",
  });
  headers.set("x-echo-method", request.method);
  for (
    const name of [
      "host",
      "x-forwarded-for",
      "x-forwarded-proto",
      "fly-request-id",
      "fly-client-ip",
      "fly-region",
    ]
  ) {
    const value = request.headers.get(name);
    if (value !== null) headers.set(`x-echo-${name}`, value);
  }
  return new Response(request.body, { headers });
}

/** `?n=COUNT`, with Content-Length up to SIZED_BYTES_MAX, chunked above: byte i is i modulo 251, a prime, so that a lost or doubled block shows. */
function bytes(url: URL): Response | Promise<Response> {
  const n = Number(url.searchParams.get("n") ?? "0");
  if (!Number.isSafeInteger(n) || n < 0 || n > BYTES_MAX) {
    return new Response(`n is 0 to ${BYTES_MAX}\n`, { status: 400 });
  }
  const headers = { "content-type": "application/octet-stream" };
  const body = patternStream(n);
  // Bun frames a stream as chunked whatever its headers say; a body in memory gets its Content-Length.
  return n > SIZED_BYTES_MAX
    ? new Response(body, { headers })
    : new Response(body).bytes().then((b) => new Response(b, { headers }));
}

/** `?n=COUNT&interval_ms=MS`: server-sent events `tick` with their number. */
function events(url: URL, signal: AbortSignal): Response {
  const n = Math.min(Number(url.searchParams.get("n") ?? "10") || 0, EVENTS_MAX);
  const intervalMs = Math.min(
    Number(url.searchParams.get("interval_ms") ?? "100") || 0,
    EVENT_INTERVAL_MS_MAX,
  );
  const encoder = new TextEncoder();
  const stream = new ReadableStream<Uint8Array>({
    async start(controller) {
      for (let i = 0; i < n && !signal.aborted; i++) {
        if (i > 0) await Bun.sleep(intervalMs);
        controller.enqueue(encoder.encode(`id: ${i}\nevent: tick\ndata: ${JSON.stringify({ n: i })}\n\n`));
      }
      if (!signal.aborted) controller.close();
    },
  });
  return new Response(stream, {
    headers: { "content-type": "text/event-stream", "cache-control": "no-store" },
  });
}

/** Answers on IPv4 and IPv6 alike. */
export function serve(port: number, hostname: string) {
  return Bun.serve({
    port,
    hostname,
    idleTimeout: IDLE_S_MAX,
    maxRequestBodySize: BODY_BYTES_MAX,
    fetch(request, server) {
      if (new URL(request.url).pathname === "/ws") {
        return server.upgrade(request)
          ? undefined
          : new Response("this path speaks WebSocket\n", { status: 426 });
      }
      return answer(request);
    },
    websocket: { message: (socket, message) => void socket.send(message) },
  });
}

if (import.meta.main) {
  // `::` takes IPv4 too where the kernel's net.ipv6.bindv6only is 0, its default; without IPv6 there is only 0.0.0.0.
  const port = Number(process.env.PORT ?? PORT_DEFAULT);
  const server = (() => {
    try {
      return serve(port, "::");
    } catch {
      return serve(port, "0.0.0.0");
    }
  })();
  console.log(`listening on port ${server.port}`);
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.once(signal, async () => {
      console.log(`${signal}: ending`);
      await Promise.race([server.stop(), Bun.sleep(DRAIN_MS_MAX)]);
      process.exit(0);
    });
  }
}
