/**
 * Saves a VM's memory: QEMU pauses the guest and sends its memory to a unix socket of ours (its sandbox lets it start no
 * program), from where it goes, sealed, into a file that gets its name once it is whole and on disk.
 */
import { chmodSync, closeSync, fsyncSync, openSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { dirname } from "node:path";
import { GodwitError, messageOf } from "../../../contract/errors.ts";
import { argumentsOf } from "../host-process.ts";
import type { Qmp } from "../qmp.ts";
import { newSealKey, sealFile } from "../sealed-file.ts";
import { cancelMigration, migrated, sendMemory } from "./migration.ts";
import { MEMORY_SOCKET, type QemuPaths } from "./qemu-paths.ts";
import { forgetSaved, originOf } from "./saved-memory.ts";

/** QEMU connects at once; and a host that takes no byte for so long is not going to. */
const CONNECT_MS_MAX = 10_000;
const STALL_MS_MAX = 30_000;
/** What devices and QEMU's own page headers may add to the guest's memory. */
const OVERHEAD_MB_MAX = 64;
const OVERHEAD_SHARE = 1.05;

export interface SaveInput {
  readonly machineId: string;
  readonly pid: number;
  readonly paths: QemuPaths;
  readonly qmp: Qmp;
  /** Aborted: the guest goes on. */
  readonly signal: AbortSignal;
}

/** Resolves when all is on disk; the VM stays paused. Where it fails, the guest goes on and nothing of it is left. */
export async function saveMemory(input: SaveInput): Promise<void> {
  const { machineId, pid, paths, qmp, signal } = input;
  forgetSaved(paths);
  writeFileSync(paths.moving, "", { mode: 0o600 });
  const key = newSealKey();
  writeFileSync(paths.key, key, { mode: 0o600, flag: "wx" });
  const door = await openDoor(paths.memory);
  try {
    signal.throwIfAborted();
    await qmp.execute("stop");
    await sendMemory(qmp, `unix:${MEMORY_SOCKET}`);
    const stream = await door.guest(CONNECT_MS_MAX);
    const hangUp = () => stream.destroy(new Error("it was called off"));
    signal.addEventListener("abort", hangUp, { once: true });
    stream.setTimeout(STALL_MS_MAX, () => stream.destroy(new Error(`no byte in ${STALL_MS_MAX} ms`)));
    try {
      signal.throwIfAborted();
      const bytesMax = bytesMaxOf(pid);
      await sealFile(paths.savedDraft, key, originOf(machineId, pid), stream, { bytesMax });
      await migrated(qmp);
      signal.throwIfAborted();
    } finally {
      signal.removeEventListener("abort", hangUp);
      stream.destroy();
    }
    renameSync(paths.savedDraft, paths.saved);
    syncFolder(dirname(paths.saved));
  } catch (error) {
    forgetSaved(paths);
    await goOn(qmp, paths);
    throw error;
  } finally {
    door.close();
  }
}

/** Of a VM that was paused to be saved, whatever has come of that. */
export async function goOn(qmp: Qmp, paths: QemuPaths): Promise<void> {
  await cancelMigration(qmp);
  await qmp.execute("cont");
  rmSync(paths.moving, { force: true });
}

function bytesMaxOf(pid: number): number {
  const argv = argumentsOf(pid);
  const memoryMb = Number(/^(\d+)M$/.exec(argv[argv.indexOf("-m") + 1] ?? "")?.[1] ?? 0);
  return Math.ceil(memoryMb * OVERHEAD_SHARE + OVERHEAD_MB_MAX) * 1_048_576;
}

/** A socket that one guest comes through. */
async function openDoor(path: string): Promise<{ guest(ms: number): Promise<Socket>; close(): void }> {
  rmSync(path, { force: true });
  const came = Promise.withResolvers<Socket>();
  came.promise.catch(() => {}); // Met by whoever waits for it, if anybody does.
  const server = createServer({ pauseOnConnect: true }, (socket) => {
    socket.on("error", () => {}); // Whoever reads the socket meets it there; unheard, it would end the agent.
    came.resolve(socket);
    server.close();
  });
  const listening = Promise.withResolvers<void>();
  server.once("error", listening.reject);
  server.listen(path, listening.resolve);
  await listening.promise;
  // QEMU's user is to connect; nobody else can walk there.
  chmodSync(path, 0o666);
  return {
    guest: async (ms) => {
      const timer = setTimeout(() => came.reject(new Error(`QEMU did not come in ${ms} ms`)), ms);
      try {
        return await came.promise;
      } finally {
        clearTimeout(timer);
      }
    },
    close: () => {
      server.close();
      void came.promise.then((socket) => socket.destroy(), () => {});
      rmSync(path, { force: true });
    },
  };
}

function syncFolder(folder: string): void {
  const fd = openSync(folder, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

export function suspendFailed(machineId: string, error: unknown): GodwitError {
  const isFull = (error as NodeJS.ErrnoException).code === "ENOSPC";
  return new GodwitError("vmm.suspend_failed", `Cannot suspend machine ${machineId}: ${messageOf(error)}`, {
    fault: "us",
    retryable: true,
    hint: isFull
      ? "its memory needs as much room on the host's disk as the guest uses: free some, or stop the machine"
      : "the machine goes on running; stop it, or ask again",
    cause: error,
  });
}
