/**
 * A vsock port as a row of byte streams (vsock(7)): how the worker reaches a guest on Firecracker. The socket is made by
 * the C library, since Bun knows no AF_VSOCK; once it listens, Bun accepts on it like on any other.
 */
import { existsSync } from "node:fs";
import net from "node:net";
import type { Duplex } from "node:stream";
import { check, libc } from "./libc.ts";

/** There where a vsock device was found: stage 0 loads its driver only then. */
const DEVICE = "/dev/vsock";
const AF_VSOCK = 40;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK_CLOEXEC = 0o4000 | 0o2000000;
const VMADDR_CID_ANY = 0xffffffff;
const SOCKADDR_VM_BYTES = 16;
const BACKLOG = 16;

export function hasVsock(): boolean {
  return existsSync(DEVICE);
}

/** Calls `onStream` for each connection, until the machine powers off. */
export function serveVsock(port: number, onStream: (stream: Duplex) => void): Promise<void> {
  const fd = check(libc.socket(AF_VSOCK, SOCK_STREAM | SOCK_NONBLOCK_CLOEXEC, 0), "socket AF_VSOCK");
  check(libc.bind(fd, vsockAddress(VMADDR_CID_ANY, port), SOCKADDR_VM_BYTES), `bind vsock port ${port}`);
  check(libc.listen(fd, BACKLOG), `listen on vsock port ${port}`);
  return new Promise((resolve, reject) => {
    const listener = net.createServer(onStream);
    listener.once("error", reject);
    listener.listen({ fd }, resolve);
  });
}

/** struct sockaddr_vm (linux/vm_sockets.h). */
export function vsockAddress(cid: number, port: number): Uint8Array {
  const bytes = new Uint8Array(SOCKADDR_VM_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, AF_VSOCK, true);
  view.setUint32(4, port, true);
  view.setUint32(8, cid, true);
  return bytes;
}
