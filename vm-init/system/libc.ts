/** Every function of the C library that vm-init calls, opened once. Its neighbours give each a safe face. */
import { dlopen, FFIType, type Pointer, read } from "bun:ffi";
import { SystemError } from "./error.ts";

const { i16, i32, u32, u64, i64, ptr, cstring } = FFIType;

export const libc = dlopen("libc.so.6", {
  __errno_location: { args: [], returns: ptr },
  mount: { args: [cstring, cstring, cstring, u64, ptr], returns: i32 },
  umount2: { args: [cstring, i32], returns: i32 },
  chroot: { args: [cstring], returns: i32 },
  swapon: { args: [cstring, i32], returns: i32 },
  swapoff: { args: [cstring], returns: i32 },
  posix_fallocate: { args: [i32, i64, i64], returns: i32 },
  clock_settime: { args: [i32, ptr], returns: i32 },
  ioctl: { args: [i32, u64, ptr], returns: i32 },
  reboot: { args: [i32], returns: i32 },
  sync: { args: [], returns: FFIType.void },
  sethostname: { args: [cstring, u64], returns: i32 },
  getrlimit: { args: [i32, ptr], returns: i32 },
  setrlimit: { args: [i32, ptr], returns: i32 },
  prctl: { args: [i32, u64, u64, u64, u64], returns: i32 },
  kill: { args: [i32, i32], returns: i32 },
  waitid: { args: [i32, i32, ptr, i32, ptr], returns: i32 },
  setgroups: { args: [u64, ptr], returns: i32 },
  setresgid: { args: [u32, u32, u32], returns: i32 },
  setresuid: { args: [u32, u32, u32], returns: i32 },
  pipe2: { args: [ptr, i32], returns: i32 },
  fcntl: { args: [i32, i32, i32], returns: i32 },
  write: { args: [i32, ptr, u64], returns: i64 },
  socket: { args: [i32, i32, i32], returns: i32 },
  bind: { args: [i32, ptr, u32], returns: i32 },
  listen: { args: [i32, i32], returns: i32 },
  send: { args: [i32, ptr, u64, i32], returns: i64 },
  recv: { args: [i32, ptr, u64, i32], returns: i64 },
  close: { args: [i32], returns: i32 },
  if_nametoindex: { args: [cstring], returns: u32 },
  posix_spawn: { args: [ptr, cstring, ptr, ptr, ptr, ptr], returns: i32 },
  posix_spawn_file_actions_init: { args: [ptr], returns: i32 },
  posix_spawn_file_actions_destroy: { args: [ptr], returns: i32 },
  posix_spawn_file_actions_addopen: { args: [ptr, i32, cstring, i32, u32], returns: i32 },
  posix_spawn_file_actions_adddup2: { args: [ptr, i32, i32], returns: i32 },
  posix_spawn_file_actions_addchdir_np: { args: [ptr, cstring], returns: i32 },
  posix_spawn_file_actions_addclosefrom_np: { args: [ptr, i32], returns: i32 },
  posix_spawnattr_init: { args: [ptr], returns: i32 },
  posix_spawnattr_destroy: { args: [ptr], returns: i32 },
  posix_spawnattr_setflags: { args: [ptr, i16], returns: i32 },
  posix_spawnattr_setsigdefault: { args: [ptr, ptr], returns: i32 },
  posix_spawnattr_setsigmask: { args: [ptr, ptr], returns: i32 },
}).symbols;

/** A NUL-terminated string for the kernel. Keep it in a variable that outlives the call. */
export function text(value: string): Uint8Array {
  return Buffer.from(`${value}\0`);
}

export function errno(): number {
  return read.i32(libc.__errno_location() as Pointer, 0);
}

/** Throws what the kernel said where a call answered below zero; `call` names it and its operands. */
export function check(result: number | bigint, call: string): number {
  if (Number(result) < 0) throw new SystemError(call, errno());
  return Number(result);
}
