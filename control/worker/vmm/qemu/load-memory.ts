/** Gives saved memory to a QEMU that waits for it, verified piece by piece before QEMU sees it. */
import { once } from "node:events";
import { chmodSync, rmSync, statSync } from "node:fs";
import { connect, type Socket } from "node:net";
import type { Qmp } from "../qmp.ts";
import { RECORD_BYTES_MAX } from "../sealed-file.ts";
import { migrated, takeMemory } from "./migration.ts";
import { MEMORY_SOCKET, type QemuPaths } from "./qemu-paths.ts";
import { widenSendBuffer } from "./send-buffer.ts";

const STALL_MS_MAX = 30_000;
const MODE_TO_LISTEN = 0o1777;
/** Four pieces on their way, so that QEMU and the cipher seldom wait for each other. */
const SEND_BUFFER_BYTES = 4 * RECORD_BYTES_MAX;

/** Resolves when QEMU has all of it and its guest is paused where it was. A QEMU that gets less than all ends itself. */
export async function loadMemory(
  qmp: Qmp,
  paths: QemuPaths,
  pieces: AsyncIterable<Uint8Array>,
): Promise<void> {
  rmSync(paths.memory, { force: true });
  await listening(qmp, paths);
  const socket = connect({ path: paths.memory });
  try {
    await once(socket, "connect");
    widenSendBuffer(socket, SEND_BUFFER_BYTES);
    socket.setTimeout(
      STALL_MS_MAX,
      () => socket.destroy(new Error(`QEMU took nothing in ${STALL_MS_MAX} ms`)),
    );
    // One piece waits behind the one that QEMU takes, so that the socket never runs dry.
    let last: Promise<void> = Promise.resolve();
    for await (const piece of pieces) {
      const next = written(socket, piece);
      next.catch(() => {}); // Met when it is waited for.
      await last;
      last = next;
    }
    await last;
    // Not ended: QEMU knows the end of its own stream.
    await migrated(qmp);
  } finally {
    socket.destroy();
    rmSync(paths.memory, { force: true });
  }
}

/** QEMU may make its socket now, before it has seen a byte that came from a guest, and nothing afterwards. */
async function listening(qmp: Qmp, { root }: QemuPaths): Promise<void> {
  const { mode } = statSync(root);
  chmodSync(root, MODE_TO_LISTEN);
  try {
    await takeMemory(qmp, `unix:${MEMORY_SOCKET}`);
  } finally {
    chmodSync(root, mode & 0o7777);
  }
}

function written(socket: Socket, piece: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    const ended = () => reject(new Error("QEMU hung up"));
    socket.once("close", ended);
    socket.write(piece, (error) => {
      socket.off("close", ended);
      if (error == null) resolve();
      else reject(error);
    });
  });
}
