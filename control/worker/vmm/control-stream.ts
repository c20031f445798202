/** Opens the unix socket on which a VM's control channel ends, with patience: the VMM or vm-init makes it some time after start. */
import { connect, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { GodwitError } from "../../contract/errors.ts";

const CONNECT_RETRY_MS = 10;

/**
 * Tries until the socket accepts. What is written before the guest listens waits in the socket's buffer.
 * @throws GodwitError `vmm.gone` when `exited` comes first; the signal's reason when it aborts
 */
export async function openControlStream(
  path: string,
  exited: Promise<unknown>,
  signal: AbortSignal,
): Promise<Duplex> {
  let gone = false;
  void exited.then(() => gone = true);
  for (;;) {
    signal.throwIfAborted();
    if (gone) {
      throw new GodwitError("vmm.gone", `Cannot open the control channel ${path}: the VM has ended`, {
        fault: "us",
      });
    }
    const socket = await tryConnect(path);
    if (socket !== null) {
      if (!signal.aborted) return socket;
      socket.destroy();
    }
    await delay(CONNECT_RETRY_MS);
  }
}

/** Null where nobody listens there yet. */
export function tryConnect(path: string): Promise<Socket | null> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path });
    socket.once("connect", () => {
      socket.removeAllListeners("error");
      socket.on("error", () => {}); // Whoever takes the stream over sees its close; unheard, an error would end the agent.
      resolve(socket);
    });
    socket.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT" || error.code === "ECONNREFUSED") resolve(null);
      else reject(error);
    });
  });
}
