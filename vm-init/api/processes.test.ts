import { expect, test } from "bun:test";
import { listProcesses, parseStat } from "./processes.ts";

const FIELDS = "S 1 7 7 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 1 0 1234 4096000 300 18446744073709551615";

test("parseStat() reads what follows the last parenthesis", () => {
  expect(parseStat(`7 (a) b (c) ${FIELDS}`)).toEqual({
    name: "a) b (c",
    state: "S",
    ppid: 1,
    cpuMs: 2_000,
    startedS: 12.34,
    rssKb: 1_200,
  });
});

test("parseStat() knows when there is no line", () => {
  expect(parseStat("")).toBeNull();
  expect(parseStat("7 (sh) S 1")).toBeNull();
});

test("listProcesses() has this process with its parent and the socket that it listens on", () => {
  const server = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  const own = listProcesses().processes.find(({ pid }) => pid === process.pid);
  expect(own).toMatchObject({ ppid: process.ppid, command: expect.stringContaining("bun") });
  expect(own?.listen_sockets).toContainEqual({ protocol: "tcp", address: "127.0.0.1", port: server.port });
  expect(own!.rss_kb).toBeGreaterThan(1_000);
  server.stop(true);
});
