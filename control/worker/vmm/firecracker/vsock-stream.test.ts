import { afterEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import http2 from "node:http2";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { GuestClient } from "../guest-client.ts";
import { openVsockStream } from "./vsock-stream.ts";

const WAIT_MS = 10_000;
const never = new Promise<never>(() => {});
const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0).reverse()) close();
});

/** What stands at the unix socket; told of each connection and of its first line. */
async function device(onConnect: (socket: net.Socket, line: string) => void): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), "godwit-vsock-"));
  const path = join(folder, "vsock.sock");
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.once("data", (chunk) => onConnect(socket, chunk.toString()));
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  closers.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
    rmSync(folder, { recursive: true, force: true });
  });
  return path;
}

const open = (path: string, exited: Promise<unknown> = never) =>
  openVsockStream(path, 10_000, exited, AbortSignal.timeout(WAIT_MS));

test("openVsockStream() asks for the port and gives every byte after the line, also one that came with it", async () => {
  const lines: string[] = [];
  const path = await device((socket, line) => {
    lines.push(line);
    socket.write("OK 1073741824\nfirst");
    socket.on("data", (chunk) => socket.write(`echo ${chunk}`));
  });
  const stream = await open(path);
  let seen = "";
  const whole = new Promise<void>((resolve) =>
    stream.on("data", (chunk) => {
      seen += chunk;
      if (seen === "firstecho hello") resolve();
    })
  );
  stream.write("hello");
  await whole;
  expect(lines).toEqual(["CONNECT 10000\n"]);
  stream.destroy();
});

test("openVsockStream() carries HTTP/2 whose first frame came with the line", async () => {
  const server = http2.createServer();
  server.on("sessionError", () => {});
  server.on("stream", (stream: http2.ServerHttp2Stream) => {
    stream.respond({ ":status": 200 });
    stream.end(JSON.stringify({ listeners: [] }));
  });
  const inner = await device(() => {});
  const front = net.createServer((socket) => server.emit("connection", socket));
  const guest = `${inner}.guest`;
  await new Promise<void>((resolve) => front.listen(guest, resolve));
  const path = await device((socket) => {
    const behind = net.connect(guest);
    // The server's settings are its first word: held until they can go in one piece with the line.
    behind.once("data", (settings: Buffer) => {
      socket.write(Buffer.concat([Buffer.from("OK 5\n"), settings]));
      behind.pipe(socket);
      socket.pipe(behind);
    });
    behind.on("error", () => {});
  });
  const client = new GuestClient(await open(path));
  closers.push(() => {
    client.close();
    front.close();
  });
  expect(await client.listeners()).toEqual({ listeners: [] });
});

test("openVsockStream() tries again where the guest does not listen yet, or what answers makes no sense", async () => {
  let tries = 0;
  const path = await device((socket) => {
    tries++;
    if (tries === 1) socket.destroy();
    else if (tries === 2) socket.write("OK ".padEnd(64, "9"));
    else if (tries === 3) socket.write("ERR 1\n");
    else socket.write("OK 7\n");
  });
  (await open(path)).destroy();
  expect(tries).toBe(4);
});

test("openVsockStream() gives up when the VM has ended, and when it is told to", async () => {
  const path = await device((socket) => socket.destroy());
  expect(await open(path, Promise.resolve()).then(() => null, (e) => e.code)).toBe("vmm.gone");
  const aborted = openVsockStream("/nowhere/vsock.sock", 1, never, AbortSignal.timeout(50));
  expect(await aborted.then(() => null, (e) => e.name)).toBe("TimeoutError");
});
