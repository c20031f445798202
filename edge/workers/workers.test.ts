/** Workers as processes, on both runtimes: shared ports, replacement under load, crashes, the end. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "../edge.fixture.ts";
import { RUNTIMES, startWorkersEdge, SteadyClients } from "./workers.fixture.ts";

const folder = mkdtempSync(join(tmpdir(), "godwit-workers-"));
let upstream: Server;
let echo: Bun.Server<undefined>;
let to: string[];

beforeAll(async () => {
  upstream = createServer((_request, response) => response.end("hello"));
  upstream.keepAliveTimeout = 60_000;
  await new Promise<void>((resolve) => upstream.listen(0, "127.0.0.1", resolve));
  to = ["--to", `127.0.0.1:${(upstream.address() as { port: number }).port}`, "--soft-limit", "1000"];
  echo = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: (request, server) => server.upgrade(request) ? undefined : new Response("no"),
    websocket: { message: (socket, message) => void socket.send(message) },
  });
});
afterAll(async () => {
  upstream.closeAllConnections();
  upstream.close();
  await echo.stop(true);
  rmSync(folder, { recursive: true, force: true });
});

for (const runtime of ["bun", "deno"] as const) {
  describe(`workers on ${runtime}`, () => {
    if (!existsSync(RUNTIMES[runtime][0]!)) return void test.skip(`no ${runtime} here`, () => {});

    test("are replaced under load without a failed request or connect", async () => {
      const edge = await startWorkersEdge(runtime, 2, to, folder);
      const clients = new SteadyClients(edge.port, 6, 6);
      try {
        // Twice, because the second time sockets stand in another order; on Deno a start takes long.
        for (let round = 0; round < (runtime === "bun" ? 2 : 1); round++) {
          await until(() => clients.connects > 200 * (round + 1), 30_000);
          const before = await edge.health();
          expect(before.serving).toBe(2);
          edge.child.kill("SIGHUP");
          await edge.replaced(before);
        }
        const connects = clients.connects;
        await until(() => clients.connects > connects + 200, 30_000);
        await clients.stop();
        expect(clients.failures).toEqual([]);
        console.log(`${runtime}: ${clients.requests} requests, ${clients.connects} connects, none failed`);
        // Workers whose connections have all ended are gone.
        await until(async () => (await edge.health()).retiring === 0, 30_000);
      } finally {
        await clients.stop();
        expect(await edge.stop()).toBe(0);
      }
    }, 120_000);

    test("a worker that crashes is started anew, and the metrics of all are one page", async () => {
      const edge = await startWorkersEdge(runtime, 2, to, folder);
      try {
        const pid = Number(/"worker_pid":(\d+)/.exec(await edge.said())![1]);
        process.kill(pid, "SIGKILL");
        await until(async () => (await edge.health()).workers.some(({ worker }) => worker === "2"), 30_000);
        const metrics = await (await fetch(`http://127.0.0.1:${edge.adminPort}/metrics`)).text();
        expect(metrics).toContain("godwit_edge_worker_crashes 1\n");
        expect(metrics).toContain('godwit_edge_workers{state="serving"} 2\n');
        expect(metrics).toMatch(/^godwit_edge_connections\{worker="1"\} 0$/m);
        expect(metrics).toMatch(/^godwit_edge_connections\{worker="2"\} 0$/m);
        expect(metrics.match(/^# TYPE godwit_edge_connections /gm)?.length).toBe(1);
      } finally {
        expect(await edge.stop()).toBe(0);
      }
    }, 60_000);

    test("a WebSocket outlives its worker's replacement, until the drain's limit", async () => {
      const edge = await startWorkersEdge(
        runtime,
        1,
        ["--to", `127.0.0.1:${echo.port}`, "--drain", "3"],
        folder,
      );
      try {
        const socket = new WebSocket(`ws://127.0.0.1:${edge.port}/`);
        const heard: string[] = [];
        let closed = false;
        socket.onmessage = (event) => heard.push(String(event.data));
        socket.onclose = () => closed = true;
        await until(() => socket.readyState === WebSocket.OPEN);
        const before = await edge.health();
        edge.child.kill("SIGHUP");
        await edge.replaced(before);
        socket.send("still here");
        await until(() => heard.length === 1);
        expect({ heard, closed }).toEqual({ heard: ["still here"], closed: false });
        await until(() => closed, 20_000);
        await until(async () => (await edge.health()).retiring === 0, 20_000);
      } finally {
        expect(await edge.stop()).toBe(0);
      }
    }, 60_000);
  });
}

test("an edge with workers refuses a port that another one has", async () => {
  const edge = await startWorkersEdge("bun", 1, to, folder);
  try {
    const other = Bun.spawn([
      ...[...RUNTIMES.bun, new URL("../main.ts", import.meta.url).pathname],
      ...["--from", `127.0.0.1:${edge.port}`, "--workers", "1", ...to],
    ], { stderr: "pipe", stdout: "ignore" });
    expect(await new Response(other.stderr).text()).toContain("edge.port_in_use");
    expect(await other.exited).toBe(1);
  } finally {
    await edge.stop();
  }
  expect(readFileSync(join(folder, "access.log"), "utf8").split("\n").at(-1)).toBe("");
}, 30_000);
