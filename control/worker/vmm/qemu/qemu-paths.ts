/** The files of one VM under this driver. All but QEMU's own words lie in the run folder and go with it. */
import { join } from "node:path";
import { GodwitError } from "../../../contract/errors.ts";
import { vmmOutputFile } from "../console-file.ts";
import type { VmSpec } from "../driver.ts";

/** sun_path of sockaddr_un (unix(7)), less its closing NUL. */
const SOCKET_PATH_BYTES_MAX = 107;

export interface QemuPaths {
  readonly control: string;
  readonly qmp: string;
  readonly record: string;
  readonly runConfig: string;
  /** QEMU's stdout and stderr, of the last start alone. */
  readonly output: string;
}

/** @throws GodwitError `vmm.path_too_long` */
export function qemuPaths(spec: Pick<VmSpec, "folder" | "runFolder">): QemuPaths {
  const paths = {
    control: join(spec.runFolder, "control.sock"),
    qmp: join(spec.runFolder, "qmp.sock"),
    record: join(spec.runFolder, "qemu.json"),
    runConfig: join(spec.runFolder, "run-config.img"),
    output: vmmOutputFile(spec.folder),
  };
  if (Buffer.byteLength(paths.control) > SOCKET_PATH_BYTES_MAX) {
    throw new GodwitError(
      "vmm.path_too_long",
      `Cannot make the socket ${paths.control}: unix sockets stop at ${SOCKET_PATH_BYTES_MAX} bytes`,
      { fault: "us", hint: "set a shorter run_folder in the worker's configuration" },
    );
  }
  return paths;
}
