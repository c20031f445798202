/**
 * Finds out whether Firecracker can run guests here: its version, and a boot of the guest's kernel to a word from user
 * space, in a jail like any machine's. A /dev/kvm that opens proves nothing (nested and paravirtual hosts have one that
 * cannot boot a guest).
 */
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  mkdtempSync,
  openSync,
  readSync,
  rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { GodwitError, messageOf } from "../../../contract/errors.ts";
import type { WorkerConfig } from "../../../contract/process-config.ts";
import type { VmmProbe, VmName } from "../driver.ts";
import { lastLines } from "../exit-reason.ts";
import { hostCommand } from "../host-command.ts";
import { FIRECRACKER_VERSION_MIN } from "./api-types.ts";
import type { FirecrackerPrograms } from "./firecracker-driver.ts";
import { firecrackerPaths } from "./firecracker-paths.ts";
import { cgroupVersion, makeJail, removeJail } from "./jail.ts";
import { jailUserOf } from "./jail-user.ts";
import { jailerArguments } from "./jailer-arguments.ts";
import { IN_JAIL, kernelCommandLine } from "./requests.ts";

/** KVM needs well below a second. */
const BOOT_MS_MAX = 8_000;
const PROBE_MEMORY_MB = 128;
const PROBE_WORD = "godwit-probe-ok";
const ELF_MAGIC = Buffer.from("\x7fELF", "latin1");
const TOOLS = ["mount", "umount", "mkfifo"];

type GuestFiles = Pick<WorkerConfig["guest"], "kernel_file" | "vmlinux_file" | "initramfs_file">;

/** The kernel as Firecracker wants it on x86_64: an uncompressed ELF. */
export function vmlinuxOf(guest: Pick<GuestFiles, "kernel_file" | "vmlinux_file">): string {
  return guest.vmlinux_file ?? guest.kernel_file;
}

export async function probeFirecracker(
  guest: GuestFiles,
  programs: FirecrackerPrograms,
): Promise<VmmProbe> {
  const obstacle = await obstacleOf(guest, programs).catch(messageOf);
  return obstacle === null
    ? { usable: true, acceleration: "kvm", note: "Firecracker booted a guest with KVM" }
    : { usable: false, acceleration: "none", note: obstacle };
}

async function obstacleOf(guest: GuestFiles, programs: FirecrackerPrograms): Promise<string | null> {
  if (process.getuid?.() !== 0) return "it needs root";
  for (const [name, path] of Object.entries(programs)) {
    if (!existsSync(path)) return `${name} is not installed (no ${path} on PATH)`;
  }
  const missing = TOOLS.filter((tool) => Bun.which(tool) === null);
  if (missing.length > 0) return `${missing.join(", ")} not installed`;
  const kernel = vmlinuxOf(guest);
  for (const file of [kernel, guest.initramfs_file]) {
    if (!existsSync(file)) return `${file} is missing; run \`bun run images\``;
  }
  if (!isElf(kernel)) return `${kernel} is no uncompressed ELF kernel; set guest.vmlinux_file to one`;
  const shown = await hostCommand([programs.firecracker, "--version"], {
    purpose: "ask Firecracker for its version",
  });
  return versionObstacle(shown) ?? kvmObstacle() ?? await bootObstacle(guest, programs);
}

/** 1.16.0 answers no vsock after a restore; before that the API lacks what the types here say. */
export function versionObstacle(shown: string): string | null {
  const match = /^Firecracker v(\d+)\.(\d+)\.(\d+)/m.exec(shown);
  if (match === null) return `it calls itself ${JSON.stringify(shown.slice(0, 80))}`;
  const [major, minor, patch] = match.slice(1).map(Number) as [number, number, number];
  const [majorMin, minorMin, patchMin] = FIRECRACKER_VERSION_MIN;
  const isNew = major === majorMin && (minor > minorMin || minor === minorMin && patch >= patchMin);
  return isNew
    ? null
    : `Firecracker ${major}.${minor}.${patch} is not supported: it must be ${majorMin}.x from ${
      FIRECRACKER_VERSION_MIN.join(".")
    } on`;
}

function kvmObstacle(): string | null {
  try {
    accessSync("/dev/kvm", constants.R_OK | constants.W_OK);
    return null;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ENOENT"
      ? "there is no /dev/kvm"
      : "/dev/kvm is not ours to open";
  }
}

/** Lets busybox of the initramfs say one word, after which the kernel finds init gone and restarts, which ends the VM. */
async function bootObstacle(guest: GuestFiles, programs: FirecrackerPrograms): Promise<string | null> {
  const folder = mkdtempSync(join(tmpdir(), "godwit-probe-"));
  const random = Buffer.from(crypto.getRandomValues(new Uint8Array(7))).toString("hex");
  const name: VmName = { machineId: random, folder, runFolder: folder, prefix: "godwit-probe" };
  const paths = firecrackerPaths(name, programs.firecracker);
  try {
    await makeJail(name, paths, {
      user: jailUserOf(random),
      memoryMb: PROBE_MEMORY_MB,
      shared: { kernel: vmlinuxOf(guest), initramfs: guest.initramfs_file },
      own: {},
      bytes: { config: Buffer.from(JSON.stringify(probeConfig())) },
    });
    const child = Bun.spawn([
      programs.jailer,
      ...jailerArguments({
        kernelName: paths.kernelName,
        execFile: programs.firecracker,
        jail: paths.jail,
        user: jailUserOf(random),
        cgroupVersion: cgroupVersion(),
        cpus: 1,
        netns: null,
        firecracker: ["--no-api", "--config-file", IN_JAIL.config],
      }),
    ], {
      cwd: "/",
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
      timeout: BOOT_MS_MAX,
      killSignal: "SIGKILL",
      maxBuffer: 1_048_576,
    });
    const [status, stdout, stderr] = await Promise.all([
      child.exited,
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
    ]);
    if (stdout.includes(PROBE_WORD)) return null;
    return child.signalCode === "SIGKILL"
      ? `a probe guest said nothing within ${BOOT_MS_MAX} ms`
      : `a probe guest did not boot: Firecracker ended with status ${status}: ${
        lastLines(`${stdout}\n${stderr}`)
      }`;
  } catch (error) {
    if (error instanceof GodwitError) return `a probe guest did not boot: ${error.message}`;
    throw error;
  } finally {
    await removeJail(name, paths);
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Firecracker's configuration file: the same bodies as over the API, under the names of GET /vm/config. */
function probeConfig() {
  return {
    "boot-source": {
      kernel_image_path: IN_JAIL.kernel,
      initrd_path: IN_JAIL.initramfs,
      boot_args: `${kernelCommandLine()} rdinit=/bin/busybox -- echo ${PROBE_WORD}`,
    },
    drives: [],
    "machine-config": { vcpu_count: 1, mem_size_mib: PROBE_MEMORY_MB },
  };
}

function isElf(file: string): boolean {
  const fd = openSync(file, "r");
  try {
    const head = Buffer.alloc(ELF_MAGIC.length);
    readSync(fd, head, 0, head.length, 0);
    return head.equals(ELF_MAGIC);
  } finally {
    closeSync(fd);
  }
}
