/**
 * The command line of one VM, as a pure function of its spec: README.md says why each argument is there. Nothing secret
 * may appear here: every user of the host can read it.
 */
import type { WorkerConfig } from "../../../contract/process-config.ts";
import { CONTROL_PORT_NAME } from "../../../contract/run-config.ts";
import { consoleFile } from "../console-file.ts";
import type { DeviceRates, VmSpec } from "../driver.ts";
import type { QemuPaths } from "./qemu-paths.ts";

export const QEMU = "qemu-system-x86_64";

export type Acceleration = "kvm" | "tcg";
export type MachineType = "microvm" | "q35";

/** microvm hangs now and then while it calibrates its clock under TCG: a start that was silent twice gets q35. */
const SAFE_FROM_ATTEMPT = 2;
/** Above what distributions, containers and systemd hand out; 28 bits follow. */
export const UID_BASE = 0x6000_0000;

export function machineTypeOf(attempt: number): MachineType {
  return attempt >= SAFE_FROM_ATTEMPT ? "q35" : "microvm";
}

/** A spec's `attempt` that leads to this machine type. */
export function attemptOf(machine: MachineType): number {
  return machine === "q35" ? SAFE_FROM_ATTEMPT : 0;
}

/** Last arguments of a QEMU that waits for saved memory, and runs nothing before it is told to. */
export const INCOMING: readonly string[] = ["-S", "-incoming", "defer"];

/**
 * All but the guest's kernel comes to QEMU open, from descriptor 3 on in this order: its user may open none of it. The layer
 * comes twice, to write and to read, since a QEMU that saves its memory opens its disks anew, read-only.
 */
export const DESCRIPTORS = [
  "layerWritten",
  "layer",
  "init",
  "image",
  "config",
  "console",
  "control",
  "qmp",
  "tap",
] as const;
export type Descriptor = (typeof DESCRIPTORS)[number];
const FIRST_FD = 3;

/** Where the guest's kernel and initramfs are in QEMU's enclosure. */
export const ENCLOSED = { kernel: "kernel", initramfs: "initramfs" } as const;

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
    ...["-kernel", `/${ENCLOSED.kernel}`],
    ...["-initrd", `/${ENCLOSED.initramfs}`],
    ...["-append", kernelCommandLine(machine, acceleration)],

    // In the order of DRIVES: the kernel names them vda, vdb, … as it finds them.
    ...handed("init", guest.init_drive_file),
    ...["-drive", drive("init", "readonly=on"), ...device("blk", "drive=init")],
    ...handed("image", spec.imageFile),
    ...["-drive", drive("image", "readonly=on"), ...device("blk", "drive=image")],
    ...handed("layerWritten", spec.layerFile, fdOf("layer")),
    ...handed("layer", spec.layerFile),
    ...["-drive", drive("layer", "discard=unmap", ...throttle(spec.rates)), ...device("blk", "drive=layer")],
    ...handed("config", paths.runConfig),
    ...["-drive", drive("config", "readonly=on"), ...device("blk", "drive=config")],

    ...(spec.link === null ? [] : [
      ...["-netdev", `tap,id=link,fd=${fdOf("tap")}`],
      ...device("net", "netdev=link", `mac=${spec.link.mac}`, ...(machine === "q35" ? ["romfile="] : [])),
    ]),

    ...["-chardev", `socket,id=control,fd=${fdOf("control")},server=on,wait=off`],
    ...device("serial"),
    ...["-device", `virtserialport,chardev=control,name=${CONTROL_PORT_NAME}`],

    ...device("rng"),
    ...device("balloon", "deflate-on-oom=on", "free-page-reporting=on"),

    ...handed("console", consoleFile(spec.folder)),
    ...["-chardev", `file,id=console,path=${pathOf("console")},append=on`],
    ...["-serial", "chardev:console"],

    ...["-chardev", `socket,id=qmp,fd=${fdOf("qmp")},server=on,wait=off`],
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

/** The argument that names a machine's folder, and so tells its QEMU from one of the same id in another home. */
export function consoleArgument(folder: string): string {
  return handed("console", consoleFile(folder))[1]!;
}

/** QEMU is nobody else's user. 28 bits of the machine's id, so that two machines of a host hardly ever share one. */
export function uidOf(machineId: string): number {
  return UID_BASE + parseInt(machineId.slice(-7), 16);
}

/** QEMU makes a throttle group for each drive that has any. */
function throttle({ diskIops, diskBytesPerS }: DeviceRates): string[] {
  return [
    ...(diskIops === null ? [] : [`throttling.iops-total=${diskIops}`]),
    ...(diskBytesPerS === null ? [] : [`throttling.bps-total=${diskBytesPerS}`]),
  ];
}

/** A descriptor, in a set of its number, as a file that QEMU can open again; what it is of is said for people. */
function handed(name: Descriptor, file: string, set = fdOf(name)): string[] {
  return ["-add-fd", `fd=${fdOf(name)},set=${set},opaque=${escape(file)}`];
}

function fdOf(name: Descriptor): number {
  return FIRST_FD + DESCRIPTORS.indexOf(name);
}

function pathOf(name: Descriptor): string {
  return `/dev/fdset/${fdOf(name)}`;
}

function drive(name: Descriptor, ...options: string[]): string {
  return [`id=${name}`, `file=${pathOf(name)}`, "format=raw", "if=none", ...options].join(",");
}

function deviceArgument(machine: MachineType, name: string, properties: string[]): string[] {
  return ["-device", [`virtio-${name}-${machine === "microvm" ? "device" : "pci"}`, ...properties].join(",")];
}

/** QEMU's option syntax: a comma in a value is doubled. */
function escape(value: string): string {
  return value.replaceAll(",", ",,");
}
