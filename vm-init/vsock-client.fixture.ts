/**
 * The app of vsock.test.ts, compiled: from inside the guest it asks vm-init for its status over the control port, by two
 * connections one after the other, and writes what it heard to the serial port.
 */
import { dlopen, FFIType } from "bun:ffi";
import { writeFileSync } from "node:fs";
import http2 from "node:http2";
import { Duplex } from "node:stream";
import { CONTROL_VSOCK_PORT } from "../control/contract/guest-limits.ts";
import { vsockAddress } from "./system/vsock.ts";

const AF_VSOCK = 40;
const SOCK_STREAM = 1;
const VMADDR_CID_LOCAL = 1;

const { i32, u32, ptr } = FFIType;
const libc = dlopen("libc.so.6", {
  socket: { args: [i32, i32, i32], returns: i32 },
  connect: { args: [i32, ptr, u32], returns: i32 },
}).symbols;

async function connect(): Promise<Duplex> {
  const fd = libc.socket(AF_VSOCK, SOCK_STREAM, 0);
  const address = vsockAddress(VMADDR_CID_LOCAL, CONTROL_VSOCK_PORT);
  if (libc.connect(fd, address, address.length) !== 0) throw new Error("nobody listens on the control port");
  const held: { socket?: Bun.Socket } = {};
  const stream = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      held.socket!.write(chunk);
      done();
    },
    destroy(error, done) {
      held.socket!.end();
      done(error);
    },
  });
  const options = {
    fd,
    socket: {
      data: (_socket: Bun.Socket, bytes: Buffer) => void stream.push(Buffer.from(bytes)),
      close: () => void stream.push(null),
    },
  };
  held.socket = await Bun.connect(options as never);
  return stream;
}

async function statusOf(stream: Duplex): Promise<string> {
  const session = http2.connect("http://guest", { createConnection: () => stream });
  const request = session.request({ ":path": "/v1/status?wait_ms=60000" });
  let text = "";
  request.setEncoding("utf8");
  for await (const piece of request) text += piece;
  session.destroy();
  stream.destroy();
  return text;
}

const say = (line: string) => writeFileSync("/dev/ttyS0", `\n${line}\n`);

try {
  for (const name of ["first", "second"]) {
    const status = JSON.parse(await statusOf(await connect()));
    say(`vsock-test ${name}: ${JSON.stringify({ phase: status.phase, pid: status.pid })}`);
  }
  process.exit(0);
} catch (error) {
  say(`vsock-test failed: ${error}`);
  process.exit(1);
}
