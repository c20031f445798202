/**
 * The files of one VM under this driver. The jail is a tmpfs of its own in the run folder, because a host's /run is often
 * mounted nodev and noexec, and the jailer copies its program there and makes /dev/kvm.
 */
import { basename, join } from "node:path";
import { firecrackerOutputFile } from "../console-file.ts";
import type { VmName } from "../driver.ts";
import { IN_JAIL } from "./requests.ts";

export interface FirecrackerPaths {
  /** Of the process (`--id`), of the cgroup and its parent: the stack's prefix and the machine. */
  readonly kernelName: string;
  /** `--chroot-base-dir`; a mount point. */
  readonly jail: string;
  /** What is `/` for Firecracker. */
  readonly root: string;
  /** A file of IN_JAIL as the host sees it. */
  inJail(name: keyof typeof IN_JAIL): string;
  readonly record: string;
  /** stderr of jailer and Firecracker, and Firecracker's log, of the last start alone. */
  readonly output: string;
  /** Of the saved memory; nowhere else, so that a host that restarts cannot read the rest. */
  readonly key: string;
  readonly saved: string;
  readonly savedDraft: string;
}

/** Sockets may lie deeper than unix(7) allows: Firecracker makes them by their paths inside, the agent opens them by descriptor. */
export function firecrackerPaths(name: VmName, execFile: string): FirecrackerPaths {
  const kernelName = `${name.prefix}-${name.machineId}`;
  const jail = join(name.runFolder, "jail");
  const root = join(jail, basename(execFile), kernelName, "root");
  return {
    kernelName,
    jail,
    root,
    inJail: (file) => join(root, IN_JAIL[file]),
    record: join(name.runFolder, "firecracker.json"),
    output: firecrackerOutputFile(name.folder),
    key: join(name.runFolder, "memory.key"),
    saved: join(name.folder, "memory.sealed"),
    savedDraft: join(name.folder, "memory.sealed.new"),
  };
}
