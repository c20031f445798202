/**
 * Containers by runc, with the same vm-init and run configuration as a VM: for tests and for hosts without
 * virtualisation. A container shares the host's kernel: whoever breaks that kernel from inside has the host. README.md
 * says what it leaves on the host.
 */
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { GodwitError } from "../../../contract/errors.ts";
import type { WorkerConfig } from "../../../contract/process-config.ts";
import { consoleFile, consoleSize } from "../console-file.ts";
import type { Vm, VmmDriver, VmmProbe, VmName, VmSpec } from "../driver.ts";
import { lastLines } from "../exit-reason.ts";
import { hostCommand } from "../host-command.ts";
import { identify, killAndWait } from "../host-process.ts";
import { writeRecord } from "../process-record.ts";
import { requireFiles } from "../require-files.ts";
import { unsupported } from "../unsupported.ts";
import { cgroupNames, killAllIn, removeCgroups } from "./cgroups.ts";
import { findContainer, TOOLS, toolsAtWork } from "./find-container.ts";
import { makeNetns, netnsNames, removeNetns } from "./netns.ts";
import { ociConfig } from "./oci-config.ts";
import { mountRootfs, mountsBelow, unmountBelow } from "./rootfs.ts";
import { type RuncPaths, runcPaths } from "./runc-paths.ts";
import { RuncVm } from "./runc-vm.ts";

/** Of looking for what a killed agent left at work; more than one only where something appeared meanwhile. */
const REMOVE_ROUNDS_MAX = 5;
const NOTE = "CONTAINERS, NOT VMs: machines share this host's kernel; do not run code you do not trust";

export class RuncDriver implements VmmDriver {
  readonly name = "runc";
  readonly linkKind = "veth";
  readonly can = {
    suspend: "a container's memory is the host's: runc saves none of it",
    rates: "a container's devices are the host's",
  };
  readonly #initFolder: string;

  constructor(guest: Pick<WorkerConfig["guest"], "init_folder">) {
    this.#initFolder = guest.init_folder;
  }

  probe(): Promise<VmmProbe> {
    const missing = TOOLS.filter((tool) => Bun.which(tool) === null);
    const obstacle = process.getuid?.() !== 0
      ? "it needs root"
      : missing.length > 0
      ? `${missing.join(", ")} not installed`
      : null;
    return Promise.resolve({ usable: obstacle === null, acceleration: "none", note: obstacle ?? NOTE });
  }

  async start(spec: VmSpec): Promise<Vm> {
    const running = await this.adopt(spec);
    if (running !== null) return running;
    requireFiles(spec.machineId, [this.#initFolder, spec.imageFile, spec.layerFile]);
    const paths = runcPaths(spec);
    // Not the namespace: a start that was cut off may have moved the link into it.
    await removeContainer(spec, paths);
    mkdirSync(spec.folder, { recursive: true, mode: 0o700 });
    mkdirSync(spec.runFolder, { recursive: true, mode: 0o700 });
    try {
      await makeNetns(paths.kernelName, spec);
      await mountRootfs(spec, paths);
      writeBundle(spec, paths, this.#initFolder);
      return await runContainer(spec, paths);
    } catch (error) {
      // The first failure is the one to tell; what could not be cleaned now is listed, and cleaned by the sweep.
      await this.clean(spec).catch(() => {});
      throw error;
    }
  }

  isSuspended(): boolean {
    return false;
  }

  resume(spec: VmSpec): Promise<Vm> {
    return Promise.reject(unsupported("resume", spec.machineId, this.can.suspend));
  }

  forget(): Promise<void> {
    return Promise.resolve();
  }

  async adopt(spec: VmName): Promise<Vm | null> {
    const paths = runcPaths(spec);
    const record = await findContainer(spec, paths);
    if (record === null) return null;
    writeRecord(paths.record, record);
    return new RuncVm(spec, paths, record);
  }

  async clean(spec: VmName): Promise<void> {
    const paths = runcPaths(spec);
    await removeContainer(spec, paths);
    await removeNetns(paths.kernelName);
  }

  list(prefix: string): Promise<string[]> {
    const pattern = new RegExp(`^${prefix}-([0-9a-f]{14})$`);
    const ids = [...netnsNames(), ...cgroupNames()].flatMap((name) => pattern.exec(name)?.[1] ?? []);
    return Promise.resolve([...new Set(ids)]);
  }
}

/**
 * All of it but the network namespace. A program that a killed agent was just about to start carries no mark until it runs,
 * so what appears after the first look is found by the next.
 */
async function removeContainer(spec: VmName, paths: RuncPaths): Promise<void> {
  for (let rounds = 1; rounds <= REMOVE_ROUNDS_MAX; rounds++) {
    await removeOnce(spec, paths);
    if (toolsAtWork(spec, paths).length === 0 && mountsBelow(spec.runFolder).length === 0) return;
  }
}

async function removeOnce(spec: VmName, paths: RuncPaths): Promise<void> {
  await Promise.all(toolsAtWork(spec, paths).map(killAndWait));
  await killAllIn(paths.kernelName);
  await removeCgroups(paths.kernelName);
  await unmountBelow(spec.runFolder, spec.machineId);
  for (const path of [paths.state, paths.bundle, paths.control]) {
    rmSync(path, { recursive: true, force: true });
  }
  for (
    const file of [paths.runConfig, paths.record, `${paths.record}.new`, paths.pidFile, paths.pidFileBegun]
  ) {
    rmSync(file, { force: true });
  }
  for (const folder of [paths.image, paths.layer, paths.rootfs, spec.runFolder]) removeEmpty(folder);
}

/** bundle/config.json, run.json (it holds secrets) and the folder of the control socket. */
function writeBundle(spec: VmSpec, paths: RuncPaths, initFolder: string): void {
  mkdirSync(paths.control, { mode: 0o700 });
  mkdirSync(paths.bundle, { mode: 0o700 });
  writeFileSync(paths.runConfig, JSON.stringify({ ...spec.runConfig, mode: "container" }), { mode: 0o400 });
  writeFileSync(join(paths.bundle, "config.json"), JSON.stringify(ociConfig(spec, initFolder, paths)), {
    mode: 0o600,
  });
}

async function runContainer(spec: VmSpec, paths: RuncPaths): Promise<Vm> {
  const consoleFrom = consoleSize(spec.folder);
  const console = openSync(consoleFile(spec.folder), "a", 0o600);
  writeFileSync(paths.log, "", { mode: 0o600 });
  const flags = ["--root", paths.state, "--log", paths.log];
  const detached = ["run", "--detach", "--bundle", paths.bundle, "--pid-file", paths.pidFile, spec.machineId];
  try {
    await hostCommand(["runc", ...flags, ...detached], {
      purpose: `start machine ${spec.machineId}`,
      outputTo: console,
    });
  } catch (error) {
    const said = lastLines(readFileSync(paths.log, "utf8"));
    throw new GodwitError("vmm.start_failed", `Cannot start machine ${spec.machineId}: runc: ${said}`, {
      fault: "us",
      retryable: true,
      hint: "its log is runc.log in the machine's folder",
      cause: error,
    });
  } finally {
    closeSync(console);
  }
  const pid = Number(readFileSync(paths.pidFile, "utf8"));
  // An init that ended at once is a VM that exited, not a failed start: the console tells why.
  const record = { pid, start_time: identify(pid)?.start_time ?? "", console_from: consoleFrom };
  writeRecord(paths.record, record);
  return new RuncVm(spec, paths, record);
}

/**
 * Takes no file: below a mount that could not be undone lies the machine's layer. Empty folders in it are those that a
 * `runc init` made for its mounts, which was found only after the root had been unmounted under it.
 */
function removeEmpty(folder: string): void {
  try {
    if (mountsBelow(dirname(folder)).includes(folder)) return;
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      if (entry.isDirectory()) removeEmpty(join(folder, entry.name));
    }
    rmdirSync(folder);
  } catch (error) {
    if (!["ENOENT", "ENOTEMPTY", "EBUSY"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
  }
}
