/** VMs by QEMU, with KVM where a guest boots with it, else emulated. See README.md for its arguments and what it leaves. */
import { closeSync, existsSync, mkdirSync, openSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { assert, GodwitError, messageOf } from "../../../contract/errors.ts";
import type { WorkerConfig } from "../../../contract/process-config.ts";
import { RUN_CONFIG_BYTES_MAX, type RunConfig } from "../../../contract/run-config.ts";
import { within } from "../../backoff.ts";
import { consoleSize } from "../console-file.ts";
import type { Vm, VmmDriver, VmmProbe, VmName, VmSpec } from "../driver.ts";
import { lastLines } from "../exit-reason.ts";
import { identify, killAndWait } from "../host-process.ts";
import { writeRecord } from "../process-record.ts";
import { requireFiles } from "../require-files.ts";
import { enclosed, ENCLOSED_ENVIRONMENT, removeEnclosure } from "./enclosure.ts";
import { allQemusOf, endingQemu, findQemu, machineIdsUnder } from "./find-qemu.ts";
import { loadMemory } from "./load-memory.ts";
import { openDescriptors } from "./open-descriptors.ts";
import { attemptOf, ENCLOSED, INCOMING, QEMU, qemuArguments, uidOf } from "./qemu-arguments.ts";
import { type QemuPaths, qemuPaths } from "./qemu-paths.ts";
import { probeQemu } from "./qemu-probe.ts";
import { QemuVm } from "./qemu-vm.ts";
import { forgetSaved, isSaved, mismatch, openSaved, removeHalfSaved } from "./saved-memory.ts";

const QMP_RETRY_MS = 2;
const QMP_WAIT_MS_MAX = 15_000;
/** Between the end of QEMU's conversations and its own. */
const ENDING_MS_MAX = 2_000;
const SECTOR_BYTES = 512;

export class QemuDriver implements VmmDriver {
  readonly name = "qemu";
  readonly linkKind = "tap";
  readonly can = { suspend: null, rates: null };
  readonly #guest: WorkerConfig["guest"];
  #probe: Promise<VmmProbe> | null = null;

  constructor(guest: WorkerConfig["guest"]) {
    this.#guest = guest;
  }

  probe(): Promise<VmmProbe> {
    return this.#probe ??= probeQemu(this.#guest);
  }

  async start(spec: VmSpec): Promise<Vm> {
    const running = await this.adopt(spec);
    if (running !== null) return running;
    const plan = await this.#plan(spec);
    // A layer that is written to from now on is not the one that saved memory knows.
    forgetSaved(plan.paths);
    rmSync(plan.paths.moving, { force: true });
    const vm = this.#spawn(spec, plan, []);
    await untilItRuns(vm, spec);
    return vm;
  }

  isSuspended(name: VmName): boolean {
    return isSaved(name);
  }

  async resume(spec: VmSpec): Promise<Vm> {
    const running = await this.adopt(spec);
    if (running !== null) return running;
    try {
      return await this.#resume(spec);
    } catch (error) {
      await this.forget(spec);
      await this.clean(spec);
      throw resumeFailed(spec.machineId, error);
    }
  }

  forget(name: VmName): Promise<void> {
    forgetSaved(qemuPaths(name));
    return Promise.resolve();
  }

  async adopt(spec: VmName): Promise<Vm | null> {
    const paths = qemuPaths(spec);
    const record = findQemu(spec, paths.record);
    if (record === null) return null;
    writeRecord(paths.record, record);
    const vm = new QemuVm({ spec, paths, record, status: null });
    if (existsSync(paths.moving)) return await settled(vm, paths);
    // Not waited for: another client may hold QMP, and without it the end is still seen in /proc, only less quickly.
    void vm.connectQmp().catch(() => false);
    return vm;
  }

  async clean(spec: VmName): Promise<void> {
    const paths = qemuPaths(spec);
    // In this order: one that begins to end in between is found by the second look.
    const qemus = allQemusOf(spec);
    const ending = endingQemu(paths.record);
    if (ending !== null) qemus.push(ending);
    await Promise.all(qemus.map(killAndWait));
    removeFiles(paths);
    rmSync(paths.moving, { force: true });
    removeHalfSaved(paths);
    try {
      rmdirSync(spec.runFolder);
    } catch (error) {
      // Gone, or files of others lie in it: those are theirs to remove.
      if (!["ENOENT", "ENOTEMPTY"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
    }
  }

  list(prefix: string): Promise<string[]> {
    return Promise.resolve(machineIdsUnder(prefix));
  }

  async #resume(spec: VmSpec): Promise<Vm> {
    const { origin, memory } = await openSaved(qemuPaths(spec));
    try {
      const plan = await this.#plan({ ...spec, attempt: attemptOf(origin.machine) });
      const { paths } = plan;
      const files = [Bun.which(QEMU) ?? QEMU, this.#guest.init_drive_file, spec.imageFile, spec.layerFile];
      const obstacle = mismatch(origin, { machineId: spec.machineId, arguments: plan.arguments, files });
      if (obstacle !== null) throw new Error(obstacle);
      writeFileSync(paths.moving, "", { mode: 0o600 });
      const vm = this.#spawn(spec, plan, INCOMING);
      await untilItRuns(vm, spec);
      const qmp = await vm.qmp();
      await loadMemory(qmp, paths, memory.read());
      // Used up before the guest takes a step: memory that ran on must never run twice.
      forgetSaved(paths);
      await qmp.execute("cont");
      rmSync(paths.moving, { force: true });
      return vm;
    } finally {
      // Not waited for: the last to close a file that is gone frees its blocks. Whether that fails is nobody's concern.
      void memory.close().catch(() => {});
    }
  }

  async #plan(spec: VmSpec): Promise<Plan> {
    const { usable, acceleration, note } = await this.probe();
    if (!usable || acceleration === "none") {
      throw new GodwitError("vmm.not_usable", `Cannot start machine ${spec.machineId}: ${note}`, {
        fault: "us",
      });
    }
    const paths = qemuPaths(spec);
    const { kernel_file, initramfs_file, init_drive_file } = this.#guest;
    requireFiles(spec.machineId, [
      kernel_file,
      initramfs_file,
      init_drive_file,
      spec.imageFile,
      spec.layerFile,
    ]);
    const devices = acceleration === "kvm" ? ["kvm"] : [];
    return { paths, devices, arguments: qemuArguments(spec, this.#guest, paths, acceleration) };
  }

  #spawn(spec: VmSpec, plan: Plan, more: readonly string[]): QemuVm {
    mkdirSync(spec.folder, { recursive: true, mode: 0o700 });
    mkdirSync(spec.runFolder, { recursive: true, mode: 0o700 });
    removeFiles(plan.paths);
    writeRunConfig(plan.paths.runConfig, spec.runConfig);
    const enclosure = {
      folder: plan.paths.root,
      uid: uidOf(spec.machineId),
      program: QEMU,
      files: {
        [ENCLOSED.kernel]: this.#guest.kernel_file,
        [ENCLOSED.initramfs]: this.#guest.initramfs_file,
      },
      devices: plan.devices,
    };
    return spawnQemu(spec, plan.paths, enclosed(enclosure, [...plan.arguments, ...more]), this.#guest);
  }
}

/** What a VM of this spec is started with. */
interface Plan {
  readonly paths: QemuPaths;
  readonly devices: readonly string[];
  readonly arguments: readonly string[];
}

/** The drive of `DRIVES.config`: JSON, NUL-padded to whole sectors. It holds secrets. */
function writeRunConfig(file: string, runConfig: RunConfig): void {
  const json = Buffer.from(JSON.stringify({ ...runConfig, mode: "vm" } satisfies RunConfig));
  assert(json.length <= RUN_CONFIG_BYTES_MAX, `run configuration of ${json.length} bytes is above its bound`);
  const drive = Buffer.alloc(Math.ceil(json.length / SECTOR_BYTES) * SECTOR_BYTES);
  json.copy(drive);
  writeFileSync(file, drive, { mode: 0o600 });
}

/** In a session of its own, so that no signal to the agent's group reaches it and it outlives the agent. */
function spawnQemu(spec: VmSpec, paths: QemuPaths, argv: string[], guest: WorkerConfig["guest"]): QemuVm {
  const consoleFrom = consoleSize(spec.folder);
  rmSync(paths.output, { force: true });
  using descriptors = openDescriptors(spec, paths, guest.init_drive_file);
  // Appended to, so that the housekeeping can cut it: a guest can make its devices complain without end.
  const output = openSync(paths.output, "a", 0o600);
  const child = Bun.spawn(argv, {
    env: ENCLOSED_ENVIRONMENT,
    stdio: ["ignore", output, output, ...descriptors.fds],
    detached: true,
  });
  closeSync(output);
  child.unref();
  const identity = identify(child.pid);
  const record = { pid: child.pid, start_time: identity?.start_time ?? "", console_from: consoleFrom };
  // It may have ended already: then there is nothing to find later, and its status tells why.
  if (identity !== null) writeRecord(paths.record, record);
  return new QemuVm({ spec, paths, record, status: child.exited });
}

/** The VM where it goes on; null where it was to take memory up and its agent died, which QEMU itself ends by. */
async function settled(vm: QemuVm, paths: QemuPaths): Promise<QemuVm | null> {
  try {
    if (await vm.settle()) return vm;
  } catch (error) {
    if (await within(vm.exited, ENDING_MS_MAX) === null) throw error;
  }
  await vm.kill();
  rmSync(paths.moving, { force: true });
  return null;
}

/** QEMU greets on QMP once it took all its arguments and opened all its files. */
async function untilItRuns(vm: QemuVm, spec: VmSpec): Promise<void> {
  let ended = false;
  const exited = vm.exited.then(() => ended = true);
  // By the clock: one try alone may take as long as a QEMU that listens and does not speak.
  for (const begun = performance.now(); performance.now() - begun < QMP_WAIT_MS_MAX;) {
    const connected = await Promise.race([vm.connectQmp(), exited.then(() => null)]).catch(() =>
      ended ? null : false
    );
    if (connected === true) return;
    if (ended || connected === null) break;
    await delay(QMP_RETRY_MS);
  }
  await vm.kill();
  throw startFailure(spec, lastLines(vm.output()));
}

function startFailure(spec: VmSpec, said: string): GodwitError {
  const [what, hint] = said.includes('Failed to get "write" lock')
    ? [
      `its layer ${spec.layerFile} is in use by another VM`,
      "find it with `ps`: its arguments name the machine",
    ]
    : said.includes("cannot set up guest memory") || said.includes("Cannot allocate memory")
    ? [
      `the host has no ${spec.guest.memory_mb} MB left for it`,
      "stop other machines or choose a smaller guest",
    ]
    : ["QEMU ended at once", "its log is qemu.log in the machine's folder"];
  return new GodwitError("vmm.start_failed", `Cannot start machine ${spec.machineId}: ${what} (${said})`, {
    fault: "us",
    retryable: true,
    hint,
  });
}

function resumeFailed(machineId: string, error: unknown): GodwitError {
  return new GodwitError("vmm.resume_failed", `Cannot resume machine ${machineId}: ${messageOf(error)}`, {
    fault: "us",
    hint: "its memory is given up; a start boots it anew",
    cause: error,
  });
}

function removeFiles(paths: QemuPaths): void {
  const { control, qmp, record, runConfig, root } = paths;
  for (const file of [control, qmp, record, `${record}.new`, runConfig]) rmSync(file, { force: true });
  removeEnclosure(root);
}
