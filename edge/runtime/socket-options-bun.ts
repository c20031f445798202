/**
 * Socket options that Bun has no call for. A socket's receive buffer bounds what one read can bring: Bun reads up to
 * 512 KB at once where that much is waiting, and a connection whose other side is slow would hold all of it.
 */
import { dlopen, FFIType, ptr as addressOf } from "bun:ffi";
import { sockFprog } from "./sock-fprog.ts";

/** socket(7), on Linux for x86-64 and ARM64. */
const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const SO_ATTACH_REUSEPORT_CBPF = 51;

const { i32, ptr, u32 } = FFIType;
const setsockopt = load();
const value = new Int32Array(1);

function load(): ((...args: [number, number, number, Int32Array | Uint8Array, number]) => number) | null {
  try {
    const libc = dlopen("libc.so.6", { setsockopt: { args: [i32, i32, i32, ptr, u32], returns: i32 } });
    return libc.symbols.setsockopt as never;
  } catch {
    return null; // no glibc here: reads stay as large as Bun makes them
  }
}

/** @param bytes the kernel doubles it, for its own bookkeeping */
export function limitReceiveBuffer(fd: number, bytes: number): void {
  value[0] = bytes;
  setsockopt?.(fd, SOL_SOCKET, SO_RCVBUF, value, 4);
}

/** See `Listener.steer`. */
export function steerSharedPort(fd: number, program: Uint8Array): boolean {
  const option = sockFprog(program, BigInt(addressOf(program)));
  return setsockopt?.(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, option, option.length) === 0;
}
