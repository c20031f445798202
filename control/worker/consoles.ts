/**
 * Keeps consoles and logs of VMMs short. A guest can make all of them grow as fast as its disk of the host takes it, so they are
 * looked at every few seconds. All are only appended to: a cut one grows anew from its start.
 */
import { statSync, truncateSync } from "node:fs";
import type { Logger } from "pino";
import { pause } from "./backoff.ts";
import { growingFiles } from "./vmm/console-file.ts";
import { CONSOLE_BYTES_MAX, type VmmName } from "./vmm/driver.ts";

export const CONSOLES_INTERVAL_MS = 2_000;
const BLOCK_BYTES = 512;

/** Until the signal aborts. `folders`: those of the machines that may be running. */
export async function keepConsolesShort(
  vmm: VmmName,
  folders: () => Iterable<string>,
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    for (const folder of folders()) {
      for (const file of growingFiles(vmm, folder)) {
        try {
          cut(file);
        } catch (error) {
          log.warn({ file, err: error }, "a console cannot be cut");
        }
      }
    }
    await pause(CONSOLES_INTERVAL_MS, signal);
  }
}

/** Not asynchronous: a look takes 6 microseconds, a thread for it many times that. inotify would wake the agent at each write. */
function cut(file: string): void {
  const found = statSync(file, { throwIfNoEntry: false });
  // Blocks, not size: a file of another version's may be written at an offset and have a hole at its front.
  if (found !== undefined && found.blocks * BLOCK_BYTES > CONSOLE_BYTES_MAX) truncateSync(file, 0);
}
