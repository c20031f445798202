/** The kernel's random pool: random(4). */
import { closeSync, openSync } from "node:fs";
import { check, libc } from "./libc.ts";

/** _IOW('R', 0x03, int[2]) and _IO('R', 0x07) of linux/random.h. */
const RNDADDENTROPY = 0x40085203n;
const RNDRESEEDCRNG = 0x5207n;

/** Mixes the bytes in as truly random ones, and has what the kernel hands out depend on them from now on. */
export function addEntropy(bytes: Uint8Array): void {
  const fd = openSync("/dev/urandom", "r");
  try {
    const call = `${bytes.length} bytes into /dev/urandom`;
    check(libc.ioctl(fd, RNDADDENTROPY, randPoolInfo(bytes)), `ioctl RNDADDENTROPY ${call}`);
    check(libc.ioctl(fd, RNDRESEEDCRNG, null), "ioctl RNDRESEEDCRNG /dev/urandom");
  } finally {
    closeSync(fd);
  }
}

/** struct rand_pool_info: how many bits of entropy, how many bytes, the bytes. */
export function randPoolInfo(bytes: Uint8Array): Uint8Array {
  const info = new Uint8Array(8 + ((bytes.length + 3) & ~3));
  const view = new DataView(info.buffer);
  view.setInt32(0, bytes.length * 8, true);
  view.setInt32(4, bytes.length, true);
  info.set(bytes, 8);
  return info;
}
