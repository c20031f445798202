/**
 * Finds out what accelerates VMs here. /dev/kvm that opens proves nothing (nested and paravirtual hosts have one that
 * cannot boot a guest), so KVM counts only after it booted the guest's kernel to a word from user space. TCG needs no
 * proof: it is in the binary or it is not.
 */
import { accessSync, constants, existsSync, mkdtempSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { messageOf } from "../../../contract/errors.ts";
import type { WorkerConfig } from "../../../contract/process-config.ts";
import type { VmmProbe } from "../driver.ts";
import { lastLines } from "../exit-reason.ts";
import { hostCommand } from "../host-command.ts";
import { enclosed, ENCLOSED_ENVIRONMENT, removeEnclosure } from "./enclosure.ts";
import {
  type Acceleration,
  ENCLOSED,
  kernelCommandLine,
  QEMU,
  UID_BASE,
  vmArguments,
} from "./qemu-arguments.ts";

type GuestFiles = Pick<WorkerConfig["guest"], "kernel_file" | "initramfs_file">;

/** KVM needs well below a second. */
const KVM_BOOT_MS_MAX = 8_000;
const PROBE_MEMORY_MB = 128;
const PROBE_WORD = "godwit-probe-ok";

export async function probeQemu(guest: GuestFiles): Promise<VmmProbe> {
  for (const file of [guest.kernel_file, guest.initramfs_file]) {
    if (!existsSync(file)) return unusable(`${file} is missing; run \`bun run images\``);
  }
  let accelerators: string[];
  try {
    accelerators = (await hostCommand([QEMU, "-accel", "help"], { purpose: "ask QEMU for its accelerators" }))
      .split("\n").map((line) => line.trim());
  } catch (error) {
    return unusable(messageOf(error));
  }
  const kvm = accelerators.includes("kvm") ? await kvmObstacle(guest) : "this QEMU is built without it";
  if (kvm === null) return { usable: true, acceleration: "kvm", note: "KVM booted a guest" };
  if (!accelerators.includes("tcg")) return unusable(`no KVM (${kvm}) and QEMU is built without TCG`);
  return {
    usable: true,
    acceleration: "tcg",
    note: `no KVM (${kvm}): guests are emulated (TCG), several times slower`,
  };
}

function unusable(note: string): VmmProbe {
  return { usable: false, acceleration: "none", note };
}

/** Why KVM cannot be used, or null where it can. */
async function kvmObstacle(guest: GuestFiles): Promise<string | null> {
  try {
    accessSync("/dev/kvm", constants.R_OK | constants.W_OK);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ENOENT"
      ? "there is no /dev/kvm"
      : "/dev/kvm is not ours to open";
  }
  return await probeBoot(guest, "kvm", KVM_BOOT_MS_MAX);
}

/**
 * Boots the guest's kernel and lets busybox of its initramfs say one word, after which the kernel finds init gone and
 * reboots, which ends QEMU. In an enclosure like a machine's, /dev/kvm included. Null where the word came; else why not.
 */
export async function probeBoot(
  guest: GuestFiles,
  acceleration: Acceleration,
  bootMsMax: number,
): Promise<string | null> {
  const folder = mkdtempSync(join(tmpdir(), "godwit-probe-"));
  const enclosure = {
    folder: join(folder, "root"),
    uid: UID_BASE,
    program: QEMU,
    files: { [ENCLOSED.kernel]: guest.kernel_file, [ENCLOSED.initramfs]: guest.initramfs_file },
    devices: acceleration === "kvm" ? ["kvm"] : [],
  };
  const child = Bun.spawn(enclosed(enclosure, probeArguments(acceleration)), {
    env: ENCLOSED_ENVIRONMENT,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    timeout: bootMsMax,
    killSignal: "SIGKILL",
  });
  try {
    const [status, said, stderr] = await Promise.all([
      child.exited,
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
    ]);
    if (said.includes(PROBE_WORD)) return null;
    return child.signalCode === "SIGKILL"
      ? `a probe guest said nothing within ${bootMsMax} ms`
      : `a probe guest did not boot: QEMU ended with status ${status}: ${lastLines(stderr)}`;
  } finally {
    removeEnclosure(enclosure.folder);
    rmdirSync(folder);
  }
}

function probeArguments(acceleration: Acceleration): string[] {
  return [
    ...["-name", "godwit-probe"],
    ...vmArguments("microvm", acceleration),
    ...["-m", `${PROBE_MEMORY_MB}M`],
    ...["-kernel", `/${ENCLOSED.kernel}`],
    ...["-initrd", `/${ENCLOSED.initramfs}`],
    ...["-append", `${kernelCommandLine("microvm", acceleration)} rdinit=/bin/busybox -- echo ${PROBE_WORD}`],
    ...["-serial", "stdio"],
  ];
}
