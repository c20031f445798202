/** HTTP/3 with two clients that are not the edge's: gtlsclient (ngtcp2) and Bun's fetch. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { rmSync } from "node:fs";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { EdgeConfig } from "../../control/contract/process-config.ts";
import { keyOf } from "../../control/contract/rows.ts";
import { type Edge, startEdge } from "../edge.ts";
import { startRawUpstream, until } from "../edge.fixture.ts";
import { loadRuntime } from "../runtime/runtime.ts";
import { givenRows } from "../standalone/given-app.ts";
import { certificateRow, newSealing, type Sealing } from "../tls/tls.fixture.ts";

const folder = mkdtempSync(join(tmpdir(), "godwit-http3-"));
let app: Server;
let edge: Edge;
let sealing: Sealing;
let handler: (request: IncomingMessage, response: ServerResponse) => void = () => {};

async function startOwn(machinePort: number): Promise<Edge> {
  const rows = givenRows({
    host: "*",
    region: "ams",
    servicePorts: [443],
    upstreams: [{ address: "127.0.0.1", port: machinePort }],
    softLimit: 1_000,
    hardLimit: null,
    h2Backend: false,
  });
  const first = await certificateRow("app.test", sealing);
  const config: EdgeConfig = {
    ...EdgeConfig.parse({
      schema: 1,
      edge_id: "edge-1",
      region: "ams",
      regions: [],
      listeners: [{ address: "127.0.0.1", port: 1, service_port: 443, tls: true }],
      admin: null,
      rows: { from: "given", rows: [...rows, { table: "certificates", row: first }] },
      tls: { sealing_key_file: sealing.file },
      access_log: join(folder, "access.log"),
    }),
    listeners: [{ address: "127.0.0.1", port: 0, service_port: 443, tls: true, http3: [0, 0] }],
  };
  return await startEdge(config, await loadRuntime(), pino({ level: "silent" }), {
    http3Times: { altSvcS: 1, settleMs: 50, drainMsMax: 2_000 },
  });
}

beforeAll(async () => {
  sealing = await newSealing();
  app = createServer((request, response) => handler(request, response));
  await new Promise<void>((resolve) => app.listen(0, "127.0.0.1", resolve));
  edge = await startOwn((app.address() as AddressInfo).port);
});
afterAll(async () => {
  await edge.stop(500);
  app.closeAllConnections();
  app.close();
  rmSync(folder, { recursive: true, force: true });
  rmSync(sealing.folder, { recursive: true, force: true });
});

type Http3Init = RequestInit & { protocol?: "http3"; tls?: { rejectUnauthorized: boolean } };
function ask(path: string, init: Http3Init = {}, at: Edge = edge): Promise<Response> {
  const options: Http3Init = { protocol: "http3", tls: { rejectUnauthorized: false }, ...init };
  return fetch(`https://127.0.0.1:${at.http3[0]!.port}${path}`, options as RequestInit);
}

describe("a client of HTTP/3", () => {
  test("gets a machine's response, and the machine hears who asks", async () => {
    let heard: IncomingMessage["headers"] = {};
    handler = (request, response) => {
      heard = request.headers;
      response.writeHead(201, { "X-App": "yes", "Set-Cookie": ["a=1", "b=2"] });
      response.end(`${request.method} ${request.url}`);
    };
    const answer = await ask("/a?b=c", { headers: { host: "app.test", "x-one": "1" } });
    expect([answer.status, await answer.text()]).toEqual([201, "GET /a?b=c"]);
    expect(answer.headers.get("x-app")).toBe("yes");
    expect(answer.headers.getSetCookie()).toEqual(["a=1", "b=2"]);
    expect(answer.headers.get("fly-request-id")).toBeString();
    expect(heard).toMatchObject({ "x-one": "1", "x-forwarded-proto": "https", "fly-client-ip": "127.0.0.1" });
  });

  test("sends and gets a large body whole", async () => {
    handler = (request, response) => void request.pipe(response);
    const sent = new Uint8Array(3_000_000).map((_, i) => i % 251);
    const answer = await ask("/", { method: "POST", body: sent });
    expect(Buffer.from(await answer.arrayBuffer()).equals(Buffer.from(sent))).toBe(true);
  });

  test("gets no body to HEAD, 204 and 304, and the edge's own pages", async () => {
    handler = (request, response) => {
      if (request.url === "/die") return void request.socket.destroy();
      response.writeHead(Number(request.url!.slice(1)));
      response.end();
    };
    for (const [method, status] of [["HEAD", 200], ["GET", 204], ["GET", 304]] as const) {
      const answer = await ask(`/${status}`, { method });
      expect([answer.status, (await answer.text()).length]).toEqual([status, 0]);
    }
    const dead = await ask("/die");
    expect([dead.status, dead.headers.get("fly-error-code")]).toEqual([502, "PC03"]);
    expect(await dead.text()).toContain("edge.machine_reset");
  });

  test("that leaves cancels the machine's work", async () => {
    let gone = false;
    let begun = () => {};
    const started = new Promise<void>((resolve) => begun = resolve);
    handler = (request) => {
      request.socket.on("close", () => gone = true);
      begun();
    };
    const leave = new AbortController();
    const asked = ask("/slow", { signal: leave.signal }).catch(() => null);
    await started;
    leave.abort();
    await asked;
    await until(() => gone);
  });

  test("that does not read holds its machine", async () => {
    let sent = 0;
    const machine = await startRawUpstream((connection) => {
      connection.socket.write("HTTP/1.1 200 OK\r\n\r\n");
      const piece = Buffer.alloc(65_536);
      const pump = () => {
        while (!connection.closed && sent < 300_000_000) {
          sent += piece.length;
          if (!connection.socket.write(piece)) return void connection.socket.once("drain", pump);
        }
      };
      pump();
    });
    const own = await startOwn(machine.port);
    const answer = await ask("/", {}, own);
    const reader = answer.body!.getReader();
    await reader.read();
    let before = -1;
    await until(async () => {
      const still = before === sent;
      before = sent;
      await new Promise((resolve) => setTimeout(resolve, 200));
      return still;
    });
    expect(sent).toBeLessThan(60_000_000);
    await reader.cancel();
    await until(() => machine.connections.every(({ closed }) => closed));
    await own.stop(200);
    await machine.stop();
  });

  test("is told by Alt-Svc where TLS listens, for names whose certificate is there", async () => {
    handler = (_request, response) => response.end("ok");
    const child = Bun.spawn([
      "curl",
      "-sk",
      "-o",
      "/dev/null",
      "-D",
      "-",
      "--resolve",
      `app.test:${edge.ports[0]}:127.0.0.1`,
      `https://app.test:${edge.ports[0]}/`,
    ], { stdout: "pipe" });
    const text = (await new Response(child.stdout).text()).toLowerCase();
    expect(text).toContain(`alt-svc: h3=":${edge.http3[0]!.port}"; ma=1\r\n`);
  });

  const gtlsclient = Bun.which("gtlsclient");
  if (gtlsclient === null) console.log("skipped: gtlsclient is not installed (Debian: ngtcp2-client)");
  test.skipIf(gtlsclient === null)("may be ngtcp2's", async () => {
    handler = (request, response) => response.end(`hello ${request.headers.host}`);
    const port = String(edge.http3[0]!.port);
    const options = ["-q", "--exit-on-all-streams-close", "--timeout=5s", `--download=${folder}`];
    const child = Bun.spawn([gtlsclient!, ...options, "127.0.0.1", port, "https://app.test/page"], {
      stderr: "pipe",
    });
    expect(await child.exited).toBe(0);
    expect(await Bun.file(join(folder, "page")).text()).toBe("hello app.test");
  });
});

test("a changed certificate moves to the other port, and no request fails on the way", async () => {
  handler = (_request, response) => setTimeout(() => response.end("ok"), 2);
  const front = edge.http3[0]!;
  const before = front.port;
  let asked = 0, failed = 0, over = false;
  // Clients that stay on the port they know until it is announced no more, and those that always ask anew.
  const clients = Array.from({ length: 4 }, async () => {
    let port = front.port;
    let knownMs = performance.now();
    while (!over) {
      if (performance.now() - knownMs > 500) {
        port = front.port;
        knownMs = performance.now();
      }
      asked++;
      const options: Http3Init = { protocol: "http3", tls: { rejectUnauthorized: false } };
      await fetch(`https://127.0.0.1:${port}/`, options as RequestInit).then((r) => r.text()).catch(() =>
        failed++
      );
    }
  });
  const next = await certificateRow("app.test", sealing);
  edge.tls.apply([{ table: "certificates", key: keyOf("certificates", next), row: next }]);
  front.certificatesChanged();
  await until(() => front.port !== before);
  await until(() => !front.draining);
  over = true;
  await Promise.all(clients);
  expect(asked).toBeGreaterThan(50);
  expect(failed).toBe(0);
});
