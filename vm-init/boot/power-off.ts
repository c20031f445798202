/** The end: disks flushed and read-only, then the machine or the container is gone. */
import { closeSync } from "node:fs";
import { messageOf } from "../system/error.ts";
import { restartMachine } from "../system/machine.ts";
import { detach, remountReadOnly, swapOff, syncDisks, unmount } from "../system/mount.ts";
import { say } from "./console.ts";
import type { Mode } from "./run-config.ts";

/** The reference's: a mount stays busy while a killed process still dies. */
const TRIES = 5;
const TRY_AGAIN_MS = 750;

interface Settling {
  readonly path: string;
  readonly settle: (path: string) => void;
  readonly giveUp?: (path: string) => void;
}

/** What a machine has of disks when its end comes. */
export interface Disks {
  /** Files that are swapped to, on the layer. */
  readonly swaps: readonly string[];
  /** Mount points, in the order in which they were mounted. */
  readonly volumes: readonly string[];
  /** A hold on the layer's mount; null before it is there, and in a container. */
  readonly layerFd: number | null;
}

/**
 * Volumes are unmounted. The layer cannot be, because the root that vm-init stands in is built on it: read-only is as
 * good, its journal is then closed. What stays busy was synced, and its journal is replayed at the next start.
 */
export async function settleDisks({ swaps, volumes, layerFd }: Disks): Promise<void> {
  syncDisks();
  const rest: Settling[] = [
    ...swaps.map((path) => ({ path, settle: swapOff })),
    ...volumes.toReversed().map((path) => ({ path, settle: unmount, giveUp: detach })),
    ...(layerFd === null ? [] : ["/", `/proc/self/fd/${layerFd}`]).map((path) => ({
      path,
      settle: remountReadOnly,
    })),
  ];
  for (let attempt = 1; rest.length > 0; attempt++) {
    const busy = rest.splice(0).filter(({ path, settle, giveUp }) => {
      try {
        settle(path);
        return false;
      } catch (error) {
        if (attempt < TRIES) return true;
        say(`left ${path} as it is after ${TRIES} tries: ${messageOf(error)}`);
        giveUp?.(path);
        return false;
      }
    });
    rest.push(...busy);
    if (rest.length > 0) await Bun.sleep(TRY_AGAIN_MS);
  }
  if (layerFd !== null) closeSync(layerFd);
  syncDisks();
}

export function powerOff(mode: Mode, status: number): never {
  if (mode === "vm") restartMachine();
  process.exit(status);
}
