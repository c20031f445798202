import { describe, expect, test } from "bun:test";
import { createServer, type Server } from "node:net";
import { GodwitError } from "../../control/contract/errors.ts";
import { listenersOf, planPorts, requireFreePorts, suggestBase } from "./ports.ts";

function listen(port: number): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => resolve(server));
  });
}

describe("planPorts()", () => {
  test("is a run of ports from the base", () => {
    expect(Object.values(planPorts(8_080))).toEqual([8_080, 8_081, 8_082, 8_083, 8_084, 8_085, 8_086, 8_087]);
  });
  test("refuses a base that leaves no room, or needs root's ports", () => {
    for (const base of [80, 0, 65_535, 1.5, Number.NaN]) expect(() => planPorts(base)).toThrow(/port base/);
    expect(() => planPorts(suggestBase(60_000))).not.toThrow();
  });
});

describe("requireFreePorts()", () => {
  test("names the port, what it was meant for, who has it, and a way out", async () => {
    const server = await listen(0);
    const port = (server.address() as { port: number }).port;
    const plan = { ...planPorts(20_000), edge: port };
    const error: GodwitError = await requireFreePorts({ ...plan }).catch((e) => e);
    expect(error.code).toBe("stack.port_taken");
    expect(error.message).toContain(`Port ${port} of 127.0.0.1, meant for edge, is taken by`);
    expect(error.message).toContain(`(pid ${process.pid})`);
    expect(error.hint).toContain("--port-base");
    await new Promise((resolve) => server.close(resolve));
  });
});

test("listenersOf() finds the inodes that listen on a port, not connections from it", () => {
  const text =
    `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 41001 1 0 100 0 0 10 0
   1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 41002 1 0 100 0 0 10 0
   2: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 41003 1 0 100 0 0 10 0`;
  expect(listenersOf(text, 8_080)).toEqual(["41001"]);
});
