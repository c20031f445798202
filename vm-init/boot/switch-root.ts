/** Step switch-root: the overlay becomes `/`, inside this very process; what stage 0 needed is given back. */
import { mkdirSync, rmSync } from "node:fs";
import { chroot, moveMount } from "../system/mount.ts";

const MOVED = ["/proc", "/sys", "/dev", "/run"];
/** They live in memory; nothing uses them again. */
const STAGE0_LEFTOVERS = ["/init", "/bin", "/modules"];

export function switchRoot(newRoot: string): void {
  for (const path of STAGE0_LEFTOVERS) rmSync(path, { recursive: true, force: true });
  for (const path of MOVED) {
    mkdirSync(newRoot + path, { recursive: true });
    moveMount(path, newRoot + path);
  }
  process.chdir(newRoot);
  moveMount(".", "/");
  chroot(".");
  process.chdir("/");
}
