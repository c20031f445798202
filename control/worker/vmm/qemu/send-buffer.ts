/**
 * A socket option that Bun has no call for. What the kernel holds of a unix socket's bytes is the sender's buffer: with the
 * usual 208 KB the sides of a stream of memory wait for each other at every turn, and on a busy host each turn is a wait
 * for a processor too.
 */
import type { Socket } from "node:net";
import { libc } from "../libc.ts";

/** socket(7), on Linux for x86-64 and ARM64. FORCE: beyond net.core.wmem_max, which root may. */
const SOL_SOCKET = 1;
const SO_SNDBUFFORCE = 32;

/** @param bytes the kernel doubles it, for its own bookkeeping. Where it is refused, the socket is only slower. */
export function widenSendBuffer(socket: Socket, bytes: number): boolean {
  const fd = (socket as unknown as { _handle: { fd?: number } | null })._handle?.fd;
  if (fd === undefined) return false;
  return libc().setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, new Int32Array([bytes]), 4) === 0;
}
