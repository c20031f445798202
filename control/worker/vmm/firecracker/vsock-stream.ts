/**
 * A connection to a port of the guest through the device's unix socket: `CONNECT PORT\n`, then `OK NUMBER\n`, then the
 * guest's bytes (Firecracker: docs/vsock.md). That line is read byte by byte: what follows it is the guest's first word.
 */
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { openWithPatience, tryConnect } from "../control-stream.ts";

const RETRY_MS = 20;
/** `OK 4294967295\n`. */
const ANSWER_BYTES_MAX = 14;
/** A guest that has no listener refuses at once; one whose kernel is not up yet says nothing. */
const ANSWER_WAIT_MS = 2_000;

/**
 * Tries until the guest listens.
 * @throws GodwitError `vmm.gone` when `exited` comes first; the signal's reason when it aborts
 */
export function openVsockStream(
  path: string,
  port: number,
  exited: Promise<unknown>,
  signal: AbortSignal,
): Promise<Duplex> {
  const tryOnce = async () => {
    const socket = await tryConnect(path);
    return socket !== null && await greet(socket, port) ? socket : null;
  };
  return openWithPatience(`port ${port} of the guest behind ${path}`, tryOnce, RETRY_MS, exited, signal);
}

/** False where the guest does not listen there (yet): Firecracker then hangs up without a word. */
async function greet(socket: Socket, port: number): Promise<boolean> {
  const deadline = setTimeout(() => socket.destroy(), ANSWER_WAIT_MS);
  socket.write(`CONNECT ${port}\n`);
  try {
    let line = "";
    while (!line.endsWith("\n")) {
      if (line.length === ANSWER_BYTES_MAX) return hangUp(socket);
      const byte = await nextByte(socket);
      if (byte === null) return hangUp(socket);
      line += byte;
    }
    return /^OK \d+\n$/.test(line) || hangUp(socket);
  } finally {
    clearTimeout(deadline);
  }
}

function hangUp(socket: Socket): false {
  socket.destroy();
  return false;
}

function nextByte(socket: Socket): Promise<string | null> {
  return new Promise((resolve) => {
    const done = (byte: string | null) => {
      for (const event of ["readable", "end", "close"]) socket.removeListener(event, look);
      resolve(byte);
    };
    const look = () => {
      const byte = socket.read(1) as Buffer | null;
      if (byte !== null) done(byte.toString("latin1"));
      else if (socket.destroyed || socket.readableEnded) done(null);
    };
    for (const event of ["readable", "end", "close"]) socket.on(event, look);
    look();
  });
}
