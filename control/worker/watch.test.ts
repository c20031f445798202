/** Against a real node:http2 guest on a unix socket; the VM around it never ends. */
import { afterEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import http2, { type ServerHttp2Stream } from "node:http2";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { GuestStatus } from "../contract/guest-api.ts";
import type { Vm } from "./vmm/driver.ts";
import { Watcher } from "./watch.ts";

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0).reverse()) close();
});

const exit = { exit_code: 3, signal: null, oom_killed: false, at_ms: 1 };
const exited: GuestStatus = {
  schema: 1,
  phase: "exited",
  pid: null,
  steps: [],
  failure: null,
  exit,
  uptime_s: 1,
  clock_ms: 1,
  memory_available_mb: null,
  init_rss_kb: 0,
  init_rss_anon_kb: 0,
};

/** A VM whose guest answers each connection's calls by `answer`, told the connection's number from 1. */
async function aVm(
  answer: (path: string, stream: ServerHttp2Stream, connection: number) => void,
): Promise<Vm> {
  const folder = mkdtempSync(join(tmpdir(), "godwit-watch-"));
  const path = join(folder, "guest.sock");
  let connections = 0;
  const server = http2.createServer();
  server.on("sessionError", () => {}); // The watcher's brutal end is part of the test.
  server.on("session", (session) => {
    const connection = ++connections;
    session.on("stream", (stream, headers) => {
      stream.on("error", () => {});
      answer(headers[":path"] ?? "", stream, connection);
    });
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  closers.push(() => {
    server.close();
    rmSync(folder, { recursive: true });
  });
  return {
    machineId: "0123456789abcd",
    pid: process.pid,
    openControl: () => Promise.resolve(connect(path)),
    exited: new Promise(() => {}),
    kill: () => Promise.resolve(),
    suspend: () => Promise.resolve(),
    stats: () => Promise.resolve({ cpuMs: 0, residentBytes: 0 }),
    consoleTail: () => Promise.resolve(""),
    detach: () => {},
  };
}

test("a watcher asks again for the lines that were cut off after the exit was told", async () => {
  const logLine = (seq: number) =>
    `${JSON.stringify({ seq, stream: "stdout", at_ms: 1, line: `line ${seq}` })}\n`;
  const vm = await aVm((path, stream, connection) => {
    stream.respond({ ":status": 200 });
    if (path.startsWith("/v1/status")) return stream.end(JSON.stringify(exited));
    if (path === "/v1/exit") return stream.end(JSON.stringify(exit));
    const from = Number(new URLSearchParams(path.split("?")[1]).get("from"));
    if (connection > 1) return stream.end(from === 1 ? logLine(1) : "");
    stream.write(logLine(0));
    // The stream breaks in the middle of the lines, and the exit is known by then.
    void watcher.exit.then(() => stream.session?.destroy());
  });
  const lines: string[] = [];
  const watcher = new Watcher({
    machineId: vm.machineId,
    vm,
    logsFrom: 0,
    onLine: ({ line }) => lines.push(line),
    onTrouble: () => {},
    random: () => 0,
  });
  closers.push(() => watcher.detach());
  await watcher.drained;
  expect(await watcher.exit).toEqual(exit);
  expect(lines).toEqual(["line 0", "line 1"]);
});
