/**
 * VMs by Firecracker, each in a jail of its own. README.md of the folder above says what it leaves on the host, and
 * deploy/notes/0009-firecracker.md what of it was never run on a real one.
 */
import { chownSync, closeSync, mkdirSync, openSync, rmdirSync, rmSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { assert, GodwitError } from "../../../contract/errors.ts";
import type { WorkerConfig } from "../../../contract/process-config.ts";
import { RUN_CONFIG_BYTES_MAX, type RunConfig } from "../../../contract/run-config.ts";
import { consoleFile, consoleSize } from "../console-file.ts";
import type { Vm, VmmDriver, VmmProbe, VmName, VmSpec } from "../driver.ts";
import { lastLines } from "../exit-reason.ts";
import { identify } from "../host-process.ts";
import { writeRecord } from "../process-record.ts";
import { requireFiles } from "../require-files.ts";
import { FirecrackerApi } from "./api-client.ts";
import type { ApiRequest } from "./api-types.ts";
import { findFirecracker, kernelNamesUnder, stateOf } from "./find-firecracker.ts";
import { type FirecrackerPaths, firecrackerPaths } from "./firecracker-paths.ts";
import { probeFirecracker, vmlinuxOf } from "./firecracker-probe.ts";
import { FirecrackerVm, removeSnapshot } from "./firecracker-vm.ts";
import { resumeFailure, startFailure } from "./start-failure.ts";
import { cgroupVersion, type JailContent, makeJail, removeJail } from "./jail.ts";
import { jailUserOf } from "./jail-user.ts";
import { jailerArguments, WITH_API } from "./jailer-arguments.ts";
import { resumeRequests, startRequests } from "./requests.ts";
import { forgetSaved, isSaved, removeHalfSaved, unseal } from "./saved-memory.ts";

const API_RETRY_MS = 5;
const API_WAIT_MS_MAX = 15_000;
/** It maps memory and reads the state of devices; the pages follow as they are touched. */
const LOAD_WAIT_MS_MAX = 30_000;
const SECTOR_BYTES = 512;

/** Names on PATH, or paths. */
export interface FirecrackerPrograms {
  readonly jailer: string;
  readonly firecracker: string;
}

const PROGRAMS: FirecrackerPrograms = { jailer: "jailer", firecracker: "firecracker" };

export class FirecrackerDriver implements VmmDriver {
  readonly name = "firecracker";
  readonly linkKind = "tap";
  readonly can = { suspend: null, rates: null };
  readonly #guest: WorkerConfig["guest"];
  readonly #programs: FirecrackerPrograms;
  #probe: Promise<VmmProbe> | null = null;

  constructor(guest: WorkerConfig["guest"], programs: FirecrackerPrograms = PROGRAMS) {
    this.#guest = guest;
    this.#programs = {
      jailer: Bun.which(programs.jailer) ?? programs.jailer,
      firecracker: Bun.which(programs.firecracker) ?? programs.firecracker,
    };
  }

  probe(): Promise<VmmProbe> {
    return this.#probe ??= probeFirecracker(this.#guest, this.#programs);
  }

  async start(spec: VmSpec): Promise<Vm> {
    const running = await this.adopt(spec);
    if (running !== null) return running;
    await this.#requireUsable(spec);
    const paths = this.#paths(spec);
    // A layer that is written to from now on is not the one that saved memory knows.
    forgetSaved(paths);
    try {
      const kernel = { kernel: vmlinuxOf(this.#guest), initramfs: this.#guest.initramfs_file };
      await this.#makeJail(spec, paths, kernel);
      return await this.#run(spec, paths, startRequests(spec));
    } catch (error) {
      // The first failure is the one to tell; what could not be cleaned now is listed, and cleaned by the sweep.
      await this.clean(spec).catch(() => {});
      throw startFailure(spec, error);
    }
  }

  isSuspended(name: VmName): boolean {
    return isSaved(this.#paths(name));
  }

  async resume(spec: VmSpec): Promise<Vm> {
    const running = await this.adopt(spec);
    if (running !== null) return running;
    const paths = this.#paths(spec);
    try {
      await this.#requireUsable(spec);
      // Its kernel is in its memory.
      await this.#makeJail(spec, paths, {});
      const targets = { state: paths.inJail("state"), memory: paths.inJail("memory") };
      await unseal(paths, spec, targets);
      const user = jailUserOf(spec.machineId);
      for (const file of Object.values(targets)) chownSync(file, user, user);
      const vm = await this.#run(spec, paths, resumeRequests(spec), () => forgetSaved(paths));
      removeSnapshot(paths);
      return vm;
    } catch (error) {
      forgetSaved(paths);
      await this.clean(spec);
      throw resumeFailure(spec, error);
    }
  }

  forget(name: VmName): Promise<void> {
    forgetSaved(this.#paths(name));
    return Promise.resolve();
  }

  async adopt(name: VmName): Promise<Vm | null> {
    const paths = this.#paths(name);
    const record = findFirecracker(paths);
    if (record === null) return null;
    const state = await stateOf(paths);
    if (state === "Not started") {
      // A start or a resume that was cut off: there is no guest in it, and none can be put into it any more.
      await removeJail(name, paths);
      return null;
    }
    writeRecord(paths.record, record);
    const vm = new FirecrackerVm({ name, paths, record, status: null });
    if (state === "Paused") await vm.goOn();
    return vm;
  }

  async clean(name: VmName): Promise<void> {
    const paths = this.#paths(name);
    await removeJail(name, paths);
    for (const file of [paths.record, `${paths.record}.new`]) rmSync(file, { force: true });
    removeHalfSaved(paths);
    try {
      rmdirSync(name.runFolder);
    } catch (error) {
      // Gone, or it holds the key of saved memory.
      if (!["ENOENT", "ENOTEMPTY"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
    }
  }

  list(prefix: string): Promise<string[]> {
    const pattern = new RegExp(`^${prefix}-([0-9a-f]{14})$`);
    const names = kernelNamesUnder(prefix);
    return Promise.resolve(names.flatMap((name) => pattern.exec(name)?.[1] ?? []));
  }

  #paths(name: VmName): FirecrackerPaths {
    return firecrackerPaths(name, this.#programs.firecracker);
  }

  async #requireUsable(spec: VmSpec): Promise<void> {
    const { usable, note } = await this.probe();
    if (!usable) {
      throw new GodwitError("vmm.not_usable", `Cannot start machine ${spec.machineId}: ${note}`, {
        fault: "us",
      });
    }
    const { initramfs_file, init_drive_file } = this.#guest;
    const files = [vmlinuxOf(this.#guest), initramfs_file, init_drive_file];
    requireFiles(spec.machineId, [...files, spec.imageFile, spec.layerFile]);
  }

  async #makeJail(spec: VmSpec, paths: FirecrackerPaths, more: JailContent["shared"]): Promise<void> {
    await removeJail(spec, paths);
    mkdirSync(spec.folder, { recursive: true, mode: 0o700 });
    mkdirSync(spec.runFolder, { recursive: true, mode: 0o700 });
    await makeJail(spec, paths, {
      user: jailUserOf(spec.machineId),
      memoryMb: spec.guest.memory_mb,
      shared: { ...more, init: this.#guest.init_drive_file, image: spec.imageFile },
      own: { layer: spec.layerFile },
      bytes: { config: configDrive(spec.runConfig) },
    });
  }

  /** Starts jailer and Firecracker and tells it all it must know; `before` runs before the last request, which cannot be undone. */
  async #run(
    spec: VmSpec,
    paths: FirecrackerPaths,
    requests: readonly ApiRequest[],
    before = () => {},
  ): Promise<FirecrackerVm> {
    const vm = this.#spawn(spec, paths);
    try {
      const api = await connectApi(vm, paths);
      try {
        for (const [index, request] of requests.entries()) {
          if (index === requests.length - 1) before();
          await api.send(request, LOAD_WAIT_MS_MAX);
        }
      } finally {
        api.close();
      }
      return vm;
    } catch (error) {
      await vm.kill();
      throw error;
    }
  }

  /** In a session of its own, so that no signal to the agent's group reaches it and it outlives the agent. */
  #spawn(spec: VmSpec, paths: FirecrackerPaths): FirecrackerVm {
    const consoleFrom = consoleSize(spec.folder);
    rmSync(paths.output, { force: true });
    const console = openSync(consoleFile(spec.folder), "a", 0o600);
    const output = openSync(paths.output, "a", 0o600);
    const child = Bun.spawn([
      this.#programs.jailer,
      ...jailerArguments({
        kernelName: paths.kernelName,
        execFile: this.#programs.firecracker,
        jail: paths.jail,
        user: jailUserOf(spec.machineId),
        cgroupVersion: cgroupVersion(),
        cpus: spec.guest.cpus,
        netns: null,
        firecracker: WITH_API,
      }),
    ], { cwd: "/", stdin: "ignore", stdout: console, stderr: output, detached: true });
    closeSync(console);
    closeSync(output);
    child.unref();
    const identity = identify(child.pid);
    const record = { pid: child.pid, start_time: identity?.start_time ?? "", console_from: consoleFrom };
    if (identity !== null) writeRecord(paths.record, record);
    return new FirecrackerVm({ name: spec, paths, record, status: child.exited });
  }
}

/** Firecracker listens once it took its arguments and built its sandbox. */
async function connectApi(vm: FirecrackerVm, paths: FirecrackerPaths): Promise<FirecrackerApi> {
  let ended = false;
  void vm.exited.then(() => ended = true);
  for (const begun = performance.now(); !ended && performance.now() - begun < API_WAIT_MS_MAX;) {
    const api = await FirecrackerApi.connect(paths.inJail("api")).catch(() => null);
    if (api !== null) return api;
    await delay(API_RETRY_MS);
  }
  const why = ended ? "it ended at once" : `it opened no API in ${API_WAIT_MS_MAX} ms`;
  throw new GodwitError("vmm.api_failed", `Firecracker: ${why}: ${lastLines(vm.output())}`, {
    fault: "us",
    retryable: true,
  });
}

/** The drive of `DRIVES.config`: JSON, NUL-padded to whole sectors. It holds secrets. */
function configDrive(runConfig: RunConfig): Buffer {
  const json = Buffer.from(JSON.stringify({ ...runConfig, mode: "vm" } satisfies RunConfig));
  assert(json.length <= RUN_CONFIG_BYTES_MAX, `run configuration of ${json.length} bytes is above its bound`);
  const drive = Buffer.alloc(Math.ceil(json.length / SECTOR_BYTES) * SECTOR_BYTES);
  json.copy(drive);
  return drive;
}
