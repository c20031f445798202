/** Opens the unix socket on which a VM's control channel ends, with patience: the VMM or vm-init makes it some time after start. */
import { closeSync, constants, openSync } from "node:fs";
import { connect, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { GodwitError } from "../../contract/errors.ts";

const CONNECT_RETRY_MS = 10;
/** open(2); node:fs does not name it. */
const O_PATH = 0o10000000;

/**
 * Tries until the socket accepts. What is written before the guest listens waits in the socket's buffer.
 * @throws GodwitError `vmm.gone` when `exited` comes first; the signal's reason when it aborts
 */
export function openControlStream(
  path: string,
  exited: Promise<unknown>,
  signal: AbortSignal,
): Promise<Duplex> {
  return openWithPatience(
    `the control channel ${path}`,
    () => tryConnect(path),
    CONNECT_RETRY_MS,
    exited,
    signal,
  );
}

/**
 * Calls `tryOnce`, which answers null where nobody is there yet, until it answers a socket.
 * @param what for the error: what could not be opened
 * @throws GodwitError `vmm.gone` when `exited` comes first; the signal's reason when it aborts; what `tryOnce` throws
 */
export async function openWithPatience(
  what: string,
  tryOnce: () => Promise<Socket | null>,
  retryMs: number,
  exited: Promise<unknown>,
  signal: AbortSignal,
): Promise<Duplex> {
  let gone = false;
  void exited.then(() => gone = true);
  for (;;) {
    signal.throwIfAborted();
    if (gone) {
      throw new GodwitError("vmm.gone", `Cannot open ${what}: the VM has ended`, { fault: "us" });
    }
    const socket = await tryOnce();
    if (socket !== null) {
      if (!signal.aborted) return socket;
      socket.destroy();
    }
    await delay(retryMs);
  }
}

/**
 * Null where nobody listens there yet. The folder of a container's socket is the container's to write: a symbolic link in
 * the socket's place could lead to another machine's socket or the worker's own. So the file itself is taken hold of, and
 * no link is followed.
 */
export function tryConnect(path: string): Promise<Socket | null> {
  let held: number;
  try {
    held = openSync(path, O_PATH | constants.O_NOFOLLOW);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return Promise.resolve(null);
    return Promise.reject(error);
  }
  return new Promise<Socket | null>((resolve, reject) => {
    const socket = connect({ path: `/proc/self/fd/${held}` });
    socket.once("connect", () => {
      socket.removeAllListeners("error");
      socket.on("error", () => {}); // Whoever takes the stream over sees its close; unheard, an error would end the agent.
      resolve(socket);
    });
    socket.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT" || error.code === "ECONNREFUSED") resolve(null);
      else reject(error);
    });
  }).finally(() => closeSync(held));
}
