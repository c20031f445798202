/** The calls into the kernel by which the fake puts itself into its jail and opens taps. */
import { dlopen, FFIType, type Pointer, read } from "bun:ffi";
import { closeSync, constants, openSync } from "node:fs";
import { getSystemErrorMap } from "node:util";

const { i32, u32, u64, ptr, cstring } = FFIType;
const libc = dlopen("libc.so.6", {
  __errno_location: { args: [], returns: ptr },
  chroot: { args: [cstring], returns: i32 },
  setgroups: { args: [u64, ptr], returns: i32 },
  setresgid: { args: [u32, u32, u32], returns: i32 },
  setresuid: { args: [u32, u32, u32], returns: i32 },
  mknod: { args: [cstring, u32, u64], returns: i32 },
  ioctl: { args: [i32, u64, ptr], returns: i32 },
  setns: { args: [i32, i32], returns: i32 },
}).symbols;

const S_IFCHR = 0o020000;
const CLONE_NEWNET = 0x40000000;
/** linux/if_tun.h, on x86_64. */
const TUNSETIFF = 0x400454ca;
const TUNSETPERSIST = 0x400454cb;
const IFF_TAP = 2;
const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;
const IFREQ_BYTES = 40;
const NAME_BYTES_MAX = 15;

/** As Rust prints an io::Error. */
export class OsError extends Error {
  readonly errno: number;
  constructor(errno: number) {
    super(osErrorText(errno));
    this.errno = errno;
  }
}

const WORDS: Record<string, string> = {
  ENOENT: "No such file or directory",
  EPERM: "Operation not permitted",
  EACCES: "Permission denied",
  EBUSY: "Device or resource busy",
  EADDRINUSE: "Address in use",
};

export function osErrorText(errno: number): string {
  const [code = "", words = "unknown error"] = getSystemErrorMap().get(-errno) ?? [];
  return `${WORDS[code] ?? words} (os error ${errno})`;
}

/** Of what node:fs throws. */
export function osErrorOf(error: unknown): string {
  const errno = (error as NodeJS.ErrnoException).errno;
  return errno === undefined ? String(error) : osErrorText(Math.abs(errno));
}

const text = (value: string) => Buffer.from(`${value}\0`);

function check(result: number): number {
  if (result < 0) throw new OsError(read.i32(libc.__errno_location() as Pointer, 0));
  return result;
}

export function changeRoot(folder: string): void {
  check(libc.chroot(text(folder)));
  process.chdir("/");
}

export function makeDevice(path: string, major: number, minor: number): void {
  check(libc.mknod(text(path), S_IFCHR | 0o600, BigInt((major << 8) | minor)));
}

/** For good, all threads. */
export function becomeUser(user: number): void {
  check(libc.setgroups(0n, new Uint32Array(1)));
  check(libc.setresgid(user, user, user));
  check(libc.setresuid(user, user, user));
}

/** The descriptor of a tap; `persist` makes one that stays when it is closed. */
export function openTap(
  device: string,
  name: string,
  options: { readonly header?: boolean; readonly persist?: boolean } = {},
): number {
  let fd: number;
  try {
    fd = openSync(device, constants.O_RDWR);
  } catch (error) {
    throw new OsError(Math.abs((error as NodeJS.ErrnoException).errno ?? 0));
  }
  try {
    const request = Buffer.alloc(IFREQ_BYTES);
    request.write(name.slice(0, NAME_BYTES_MAX), "latin1");
    request.writeUInt16LE(IFF_TAP | IFF_NO_PI | (options.header === true ? IFF_VNET_HDR : 0), 16);
    check(libc.ioctl(fd, BigInt(TUNSETIFF), request));
    // TUNSETPERSIST takes its value, not an address: any that is not null says yes.
    if (options.persist === true) check(libc.ioctl(fd, BigInt(TUNSETPERSIST), request));
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** Runs `work`, which must not wait, in another network namespace. */
export function inNetns<T>(file: string, work: () => T): T {
  const home = openSync("/proc/self/ns/net", "r");
  const other = openSync(file, "r");
  try {
    check(libc.setns(other, CLONE_NEWNET));
    return work();
  } finally {
    check(libc.setns(home, CLONE_NEWNET));
    closeSync(home);
    closeSync(other);
  }
}
