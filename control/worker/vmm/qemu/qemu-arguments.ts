/**
 * The command line of one VM, as a pure function of its spec: README.md says why each argument is there. Nothing secret
 * may appear here: every user of the host can read it.
 */
import type { WorkerConfig } from "../../../contract/process-config.ts";
import { CONTROL_PORT_NAME } from "../../../contract/run-config.ts";
import { consoleFile } from "../console-file.ts";
import type { VmSpec } from "../driver.ts";
import type { QemuPaths } from "./qemu-paths.ts";

export const QEMU = "qemu-system-x86_64";

export type Acceleration = "kvm" | "tcg";
export type MachineType = "microvm" | "q35";

/** microvm hangs now and then while it calibrates its clock under TCG: a start that was silent twice gets q35. */
const SAFE_FROM_ATTEMPT = 2;

export function machineTypeOf(attempt: number): MachineType {
  return attempt >= SAFE_FROM_ATTEMPT ? "q35" : "microvm";
}

/** A spec's `attempt` that leads to this machine type. */
export function attemptOf(machine: MachineType): number {
  return machine === "q35" ? SAFE_FROM_ATTEMPT : 0;
}

/** Last arguments of a QEMU that waits for saved memory, and runs nothing before it is told to. */
export const INCOMING: readonly string[] = ["-S", "-incoming", "defer"];

/** How one process names its VM; found again by `machineIdOf`. */
export function nameOf(spec: Pick<VmSpec, "machineId" | "prefix">): string {
  return `godwit-${spec.machineId},process=${spec.prefix}`;
}

export function qemuArguments(
  spec: Omit<VmSpec, "runConfig">,
  guest: WorkerConfig["guest"],
  paths: QemuPaths,
  acceleration: Acceleration,
): string[] {
  const machine = machineTypeOf(spec.attempt);
  const device = (name: string, ...properties: string[]) => deviceArgument(machine, name, properties);
  return [
    ...["-name", nameOf(spec)],
    ...vmArguments(machine, acceleration),
    ...["-smp", String(spec.guest.cpus)],
    ...["-m", `${spec.guest.memory_mb}M`],
    ...["-kernel", guest.kernel_file],
    ...["-initrd", guest.initramfs_file],
    ...["-append", kernelCommandLine(machine, acceleration)],

    // In the order of DRIVES: the kernel names them vda, vdb, … as it finds them.
    ...["-drive", drive("init", guest.init_drive_file, "readonly=on"), ...device("blk", "drive=init")],
    ...["-drive", drive("image", spec.imageFile, "readonly=on"), ...device("blk", "drive=image")],
    ...["-drive", drive("layer", spec.layerFile, "discard=unmap"), ...device("blk", "drive=layer")],
    ...["-drive", drive("config", paths.runConfig, "readonly=on"), ...device("blk", "drive=config")],

    ...(spec.link === null ? [] : [
      ...["-netdev", `tap,id=link,ifname=${spec.link.name},script=no,downscript=no`],
      ...device("net", "netdev=link", `mac=${spec.link.mac}`, ...(machine === "q35" ? ["romfile="] : [])),
    ]),

    ...["-chardev", `socket,id=control,path=${escape(paths.control)},server=on,wait=off`],
    ...device("serial"),
    ...["-device", `virtserialport,chardev=control,name=${CONTROL_PORT_NAME}`],

    ...device("rng"),

    ...["-chardev", `file,id=console,path=${escape(consoleFile(spec.folder))},append=on`],
    ...["-serial", "chardev:console"],

    ...["-chardev", `socket,id=qmp,path=${escape(paths.qmp)},server=on,wait=off`],
    ...["-mon", "chardev=qmp,mode=control"],
  ];
}

/** What every QEMU of ours is started with, the probe's too. */
export function vmArguments(machine: MachineType, acceleration: Acceleration): string[] {
  return [
    ...["-machine", machine === "microvm" ? "microvm,acpi=on,rtc=on" : "q35"],
    ...["-accel", acceleration === "tcg" ? "tcg,thread=multi" : "kvm"],
    ...["-cpu", acceleration === "tcg" ? "max" : "host"],
    ...["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"],
    "-nodefaults",
    "-no-user-config",
    "-nographic",
    "-no-reboot",
  ];
}

export function kernelCommandLine(machine: MachineType, acceleration: Acceleration): string {
  return [
    ...["console=ttyS0", "panic=-1", "reboot=t", "quiet"],
    ...(machine === "microvm" && acceleration === "tcg" ? ["tsc_early_khz=2500000", "tsc=unstable"] : []),
  ].join(" ");
}

function drive(id: string, file: string, ...options: string[]): string {
  return [`id=${id}`, `file=${escape(file)}`, "format=raw", "if=none", ...options].join(",");
}

function deviceArgument(machine: MachineType, name: string, properties: string[]): string[] {
  return ["-device", [`virtio-${name}-${machine === "microvm" ? "device" : "pci"}`, ...properties].join(",")];
}

/** QEMU's option syntax: a comma in a value is doubled. */
function escape(value: string): string {
  return value.replaceAll(",", ",,");
}
