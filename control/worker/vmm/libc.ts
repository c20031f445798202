/**
 * Every function of the C library that the agent calls where Bun has none for it, opened once, when the first is needed. Its
 * neighbours give each a safe face.
 */
import { dlopen, FFIType } from "bun:ffi";

const { i32, i64, ptr, u32, u64 } = FFIType;

let opened: ReturnType<typeof open> | null = null;

/** @throws where this host has no glibc */
export function libc() {
  return opened ??= open();
}

function open() {
  return dlopen("libc.so.6", {
    syscall: { args: [i64, i64, i64], returns: i64 },
    poll: { args: [ptr, u64, i32], returns: i32 },
    ioctl: { args: [i32, u64, ptr], returns: i32 },
    socket: { args: [i32, i32, i32], returns: i32 },
    bind: { args: [i32, ptr, u32], returns: i32 },
    listen: { args: [i32, i32], returns: i32 },
    setsockopt: { args: [i32, i32, i32, ptr, u32], returns: i32 },
  }).symbols;
}
