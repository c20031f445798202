/** All that a QEMU is handed open, in the order of DESCRIPTORS: opened by the agent, since QEMU's user may open none of it. */
import { closeSync, openSync } from "node:fs";
import { GodwitError } from "../../../contract/errors.ts";
import { consoleFile } from "../console-file.ts";
import type { VmSpec } from "../driver.ts";
import { listenAt } from "../listening-socket.ts";
import { openTap } from "../open-tap.ts";
import { type Descriptor, DESCRIPTORS } from "./qemu-arguments.ts";
import type { QemuPaths } from "./qemu-paths.ts";

export interface OpenDescriptors extends Disposable {
  readonly fds: readonly number[];
}

/** The disposal closes the agent's own: a socket that only QEMU holds ends with it. */
export function openDescriptors(spec: VmSpec, paths: QemuPaths, initDrive: string): OpenDescriptors {
  const ways: Record<Descriptor, (() => number) | null> = {
    layerWritten: () => openSync(spec.layerFile, "r+"),
    layer: () => openSync(spec.layerFile, "r"),
    init: () => openSync(initDrive, "r"),
    image: () => openSync(spec.imageFile, "r"),
    config: () => openSync(paths.runConfig, "r"),
    console: () => openSync(consoleFile(spec.folder), "a", 0o600),
    control: () => listenAt(paths.control),
    qmp: () => listenAt(paths.qmp),
    tap: spec.link === null ? null : () => tapOf(spec, spec.link!.name),
  };
  const fds: number[] = [];
  const close = () => fds.forEach((fd) => closeSync(fd));
  try {
    for (const open of DESCRIPTORS.flatMap((name) => ways[name] ?? [])) fds.push(open());
  } catch (error) {
    close();
    throw error;
  }
  return { fds, [Symbol.dispose]: close };
}

function tapOf({ machineId }: VmSpec, name: string): number {
  const fd = openTap(name);
  if (fd !== null) return fd;
  throw new GodwitError(
    "vmm.start_failed",
    `Cannot start machine ${machineId}: the tap ${name} is in use or gone`,
    { fault: "us", retryable: true, hint: "see which process holds it: `ip -details link`" },
  );
}
