import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { tryConnect } from "./control-stream.ts";

const folder = mkdtempSync(join(tmpdir(), "godwit-control-"));
const path = join(folder, "guest.sock");
const server = createServer((socket) => socket.end("word"));
beforeAll(() => new Promise<void>((resolve) => void server.listen(path, resolve)));
afterAll(() => {
  server.close();
  rmSync(folder, { recursive: true });
});

test("tryConnect() reaches the socket of this name", async () => {
  const socket = (await tryConnect(path))!;
  const word = await new Promise<string>((resolve) => socket.once("data", (data) => resolve(String(data))));
  expect(word).toBe("word");
  socket.destroy();
});

test("tryConnect() finds nobody where there is no socket, or another kind of file", async () => {
  expect(await tryConnect(join(folder, "none"))).toBeNull();
  writeFileSync(join(folder, "file"), "");
  expect(await tryConnect(join(folder, "file"))).toBeNull();
});

test("tryConnect() follows no link, which a container could lay to another machine's socket", async () => {
  symlinkSync(path, join(folder, "link"));
  expect(await tryConnect(join(folder, "link"))).toBeNull();
});
