/** A tap of the host as an open descriptor, for a VMM that may open none (Documentation/networking/tuntap.rst of Linux). */
import { closeSync, existsSync, openSync } from "node:fs";
import { libc } from "./libc.ts";

const TUNSETIFF = 0x400454ca;
const IFF_TAP = 0x0002;
const IFF_NO_PI = 0x1000;
/** A header before each packet, by which checksums and segments are left to whoever does them last. */
const IFF_VNET_HDR = 0x4000;
/** struct ifreq of x86_64 and arm64: the name's 16 bytes, flags, padding. */
const IFREQ_BYTES = 40;
const NAME_BYTES_MAX = 15;

/** Null where it is gone, or in use: a tap has one user at a time. It works wherever the descriptor goes, in other network namespaces too. */
export function openTap(name: string): number | null {
  // The kernel would make a tap of a name that it does not know.
  if (Buffer.byteLength(name) > NAME_BYTES_MAX || !existsSync(`/sys/class/net/${name}/tun_flags`)) {
    return null;
  }
  const request = Buffer.alloc(IFREQ_BYTES);
  request.write(name, "latin1");
  request.writeUInt16LE(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR, NAME_BYTES_MAX + 1);
  const fd = openSync("/dev/net/tun", "r+");
  if (libc().ioctl(fd, TUNSETIFF, request) === 0) return fd;
  closeSync(fd);
  return null;
}
