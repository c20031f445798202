/** The end: disks flushed and read-only, then the machine or the container is gone. */
import { closeSync } from "node:fs";
import { messageOf } from "../system/error.ts";
import { restartMachine } from "../system/machine.ts";
import { remountReadOnly, syncDisks } from "../system/mount.ts";
import { say } from "./console.ts";
import type { Mode } from "./run-config.ts";

/** The reference's five tries; a mount stays busy while a killed process still dies. */
const TRIES = 5;
const TRY_AGAIN_MS = 150;

/**
 * The layer cannot be unmounted, because the root that vm-init stands in is built on it: read-only is as good, its
 * journal is then closed. One that stays busy was synced, and its journal is replayed at the next start.
 */
export async function settleDisks(layerFd: number | null): Promise<void> {
  syncDisks();
  if (layerFd === null) return;
  for (const target of ["/", `/proc/self/fd/${layerFd}`]) {
    for (let attempt = 1; attempt <= TRIES; attempt++) {
      try {
        remountReadOnly(target);
        break;
      } catch (error) {
        if (attempt === TRIES) say(`left ${target} writable: ${messageOf(error)}`);
        else await Bun.sleep(TRY_AGAIN_MS);
      }
    }
  }
  closeSync(layerFd);
  syncDisks();
}

export function powerOff(mode: Mode, status: number): never {
  if (mode === "vm") restartMachine();
  process.exit(status);
}
