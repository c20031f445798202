/** Against a scripted peer for what QEMU rarely does; the real QEMU speaks in qemu/qemu.test.ts. */
import { afterEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Qmp, QMP_LINE_BYTES_MAX, type QmpEvent } from "./qmp.ts";

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

const GREETING = '{"QMP": {"version": {"qemu": {"major": 7}}, "capabilities": []}}\r\n';

/** Listens, greets, and answers each command with what `script` returns for it. */
async function peer(script: (command: string, id: number) => string, greeting = GREETING): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), "godwit-qmp-"));
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.write(greeting);
    socket.on("data", (chunk) => {
      for (const line of chunk.toString().split("\n").filter((l) => l !== "")) {
        const { execute, id } = JSON.parse(line);
        socket.write(script(execute, id));
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(join(folder, "qmp.sock"), resolve));
  closers.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
    rmSync(folder, { recursive: true, force: true });
  });
  return join(folder, "qmp.sock");
}

const ok = (id: number) => `{"return": {}, "id": ${id}}\n`;
const options = { onEvent: () => {}, timeoutMs: 1_000 };

test("Qmp.connect() answers null where nobody listens", async () => {
  expect(await Qmp.connect("/nowhere/qmp.sock", options)).toBeNull();
});

test("Qmp.execute() pairs answers with commands by id, whatever their order", async () => {
  let held = "";
  const path = await peer((command, id) => {
    if (command === "first") return (held = `{"return": 1, "id": ${id}}\n`, "");
    if (command === "second") return `{"return": 2, "id": ${id}}\n${held}`;
    return ok(id);
  });
  const qmp = (await Qmp.connect(path, options))!;
  expect(await Promise.all([qmp.execute("first"), qmp.execute("second")])).toEqual([1, 2]);
  qmp.close();
});

test("Qmp hands on events that come between answers, and before them", async () => {
  const events: QmpEvent[] = [];
  const path = await peer((_, id) => `{"event": "SHUTDOWN", "data": {"reason": "guest-reset"}}\n${ok(id)}`);
  const qmp = (await Qmp.connect(path, { ...options, onEvent: (event) => events.push(event) }))!;
  expect(events[0]).toEqual({ event: "SHUTDOWN", data: { reason: "guest-reset" } });
  qmp.close();
});

test("Qmp.execute() rejects with QEMU's own words", async () => {
  const path = await peer((command, id) =>
    command === "qmp_capabilities"
      ? ok(id)
      : `{"error": {"class": "CommandNotFound", "desc": "no"}, "id": ${id}}\n`
  );
  const qmp = (await Qmp.connect(path, options))!;
  await expect(qmp.execute("dance")).rejects.toThrow("QMP: CommandNotFound: no");
  qmp.close();
});

test("Qmp.connect() gives up on a peer that does not greet", async () => {
  const path = await peer(() => "", " ");
  await expect(Qmp.connect(path, { ...options, timeoutMs: 30 })).rejects.toThrow("no greeting in 30 ms");
});

test("Qmp ends the connection on garbage and on a line without end, and fails what waits", async () => {
  for (const bytes of ["garbage\n", "[]\n", "x".repeat(QMP_LINE_BYTES_MAX + 1)]) {
    const path = await peer((command, id) => command === "qmp_capabilities" ? ok(id) : bytes);
    const qmp = (await Qmp.connect(path, options))!;
    await expect(qmp.execute("query-status")).rejects.toThrow("QMP: ");
    await qmp.closed;
    await expect(qmp.execute("query-status")).rejects.toThrow("the connection ended");
  }
});
