/**
 * A unix socket that listens, as an open descriptor: a VMM that may make no files is handed it. Whoever connects before the
 * VMM runs waits in the socket, so nobody has to try again until it is there.
 */
import { dlopen, FFIType } from "bun:ffi";
import { chmodSync, closeSync, rmSync } from "node:fs";
import { GodwitError } from "../../contract/errors.ts";

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0o2000000;
const BACKLOG = 1;

const { i32, u32, ptr } = FFIType;
let libc: ReturnType<typeof open> | null = null;

/** For root alone. What lies at `path` is replaced. Short enough for sun_path: the caller's to see to. */
export function listenAt(path: string): number {
  libc ??= open();
  rmSync(path, { force: true });
  const address = Buffer.from(`\x01\0${path}\0`); // sa_family_t, then sun_path
  const fd = libc.socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd >= 0 && libc.bind(fd, address, address.length) === 0 && libc.listen(fd, BACKLOG) === 0) {
    chmodSync(path, 0o600);
    return fd;
  }
  if (fd >= 0) closeSync(fd);
  throw new GodwitError("vmm.start_failed", `Cannot listen at ${path}`, {
    fault: "us",
    retryable: true,
    hint: "its folder must be there and be root's",
  });
}

function open() {
  return dlopen("libc.so.6", {
    socket: { args: [i32, i32, i32], returns: i32 },
    bind: { args: [i32, ptr, u32], returns: i32 },
    listen: { args: [i32, i32], returns: i32 },
  }).symbols;
}
