/**
 * For `many-connections.long.ts`: opens connections in a process of its own, because both ends in one would need
 * twice the files. `bun many-connections.client.ts PORT COUNT HOST`; each line on its input is one more request on each
 * connection, each line on its output says how many were answered.
 */
import { connect, type Socket } from "node:net";
import { createInterface } from "node:readline";

const BATCH = 200;
const [port, count, host] = [Number(process.argv[2]), Number(process.argv[3]), process.argv[4]];
const request = `GET /many HTTP/1.1\r\nHost: ${host}\r\n\r\n`;

function open(): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1" }, () => resolve(socket));
    socket.on("error", reject);
  });
}
function ask(socket: Socket): Promise<boolean> {
  return new Promise((resolve) => {
    socket.once("data", (bytes: Buffer) => resolve(bytes.toString("latin1").startsWith("HTTP/1.1 200 ")));
    socket.once("close", () => resolve(false));
    socket.write(request);
  });
}
/** A batch at a time: the kernel's queue of connections to accept is bounded too. */
async function inBatches<T>(total: number, each: (i: number) => Promise<T>): Promise<T[]> {
  const all: T[] = [];
  for (let at = 0; at < total; at += BATCH) {
    const indexes = Array.from({ length: Math.min(BATCH, total - at) }, (_, i) => at + i);
    all.push(...await Promise.all(indexes.map(each)));
  }
  return all;
}

const sockets = await inBatches(count, open);
const round = async () =>
  console.log((await inBatches(count, (i) => ask(sockets[i]!))).filter(Boolean).length);
await round();
for await (const _ of createInterface(process.stdin)) await round();
process.exit(0);
