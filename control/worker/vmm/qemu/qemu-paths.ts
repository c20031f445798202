/** The files of one VM under this driver. All but QEMU's own words lie in the run folder and go with it. */
import { join } from "node:path";
import { GodwitError } from "../../../contract/errors.ts";
import { vmmOutputFile } from "../console-file.ts";
import type { VmSpec } from "../driver.ts";

/** sun_path of sockaddr_un (unix(7)), less its closing NUL. */
const SOCKET_PATH_BYTES_MAX = 107;

/** As QEMU, whose root it lies in, calls it. */
export const MEMORY_SOCKET = "/memory.sock";

export interface QemuPaths {
  readonly control: string;
  readonly qmp: string;
  readonly record: string;
  readonly runConfig: string;
  /** QEMU's stdout and stderr, of the last start alone. */
  readonly output: string;
  /** QEMU's root: all that it can reach by a path. It can write there while it is about to take memory in, and never else. */
  readonly root: string;
  /** Where QEMU sends its memory to, or takes it from. */
  readonly memory: string;
  /** There while memory is on its way: whoever finds a VM beside it must see what state it was left in. */
  readonly moving: string;
  /** Of the saved memory; nowhere else. */
  readonly key: string;
  readonly saved: string;
  readonly savedDraft: string;
}

/** @throws GodwitError `vmm.path_too_long` */
export function qemuPaths(spec: Pick<VmSpec, "folder" | "runFolder">): QemuPaths {
  const paths = {
    control: join(spec.runFolder, "control.sock"),
    qmp: join(spec.runFolder, "qmp.sock"),
    record: join(spec.runFolder, "qemu.json"),
    runConfig: join(spec.runFolder, "run-config.img"),
    output: vmmOutputFile(spec.folder),
    root: join(spec.runFolder, "qemu"),
    memory: join(spec.runFolder, "qemu", MEMORY_SOCKET),
    moving: join(spec.runFolder, "memory.moving"),
    key: join(spec.runFolder, "memory.key"),
    saved: join(spec.folder, "memory.sealed"),
    savedDraft: join(spec.folder, "memory.sealed.new"),
  };
  if (Buffer.byteLength(paths.memory) > SOCKET_PATH_BYTES_MAX) {
    throw new GodwitError(
      "vmm.path_too_long",
      `Cannot make the socket ${paths.memory}: unix sockets stop at ${SOCKET_PATH_BYTES_MAX} bytes`,
      { fault: "us", hint: "set a shorter run_folder in the worker's configuration" },
    );
  }
  return paths;
}
