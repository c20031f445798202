/** One boot of one guest under TCG, until its console has told what is wanted. */
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { GodwitError } from "../../../control/contract/errors.ts";
import { CONTROL_PORT_NAME } from "../../../control/contract/guest-limits.ts";
import { consoleFigures } from "./console-figures.ts";
import type { Guests } from "./guests.ts";

export const MEMORY_MB = 256;
const BOOT_WAIT_MS = 60_000;
const POLL_MS = 20;
/** Linux 6.1 may hang while it calibrates the clock of a microvm under TCG (FACTS). */
const TRIES_MAX = 4;
const CMDLINE = "console=ttyS0 panic=-1 reboot=t quiet tsc_early_khz=2500000 tsc=unstable";

export type Which = keyof Guests["initramfsFiles"];

export function qemuArgv(guests: Guests, which: Which, folder: string): string[] {
  return [
    ...["qemu-system-x86_64", "-M", "microvm,acpi=on,rtc=on", "-accel", "tcg,thread=multi", "-cpu", "max"],
    ...["-m", String(MEMORY_MB), "-nodefaults", "-no-user-config", "-nographic", "-no-reboot"],
    ...["-kernel", guests.kernelFile, "-initrd", guests.initramfsFiles[which], "-append", CMDLINE],
    ...["-serial", `file:${join(folder, "console")}`],
    ...guests.drives.flatMap(({ file, readOnly }, index) => [
      "-drive",
      `id=drive${index},file=${file},format=raw,if=none,readonly=${readOnly ? "on" : "off"}`,
      "-device",
      `virtio-blk-device,drive=drive${index}`,
    ]),
    ...["-netdev", "user,id=net,restrict=on", "-device", "virtio-net-device,netdev=net"],
    ...["-device", "virtio-serial-device"],
    ...["-chardev", `socket,id=control,path=${join(folder, "control.sock")},server=on,wait=off`],
    ...["-device", `virtserialport,chardev=control,name=${CONTROL_PORT_NAME}`],
  ];
}

/** @throws GodwitError `bench.hung` */
export async function bootUntil(
  guests: Guests,
  which: Which,
  folder: string,
  wanted: readonly string[],
): Promise<Map<string, number>> {
  for (let tries = 1; tries <= TRIES_MAX; tries++) {
    await guests.renewLayer();
    const figures = await bootOnce(qemuArgv(guests, which, folder), join(folder, "console"), wanted);
    if (figures !== null) return figures;
  }
  throw new GodwitError(
    "bench.hung",
    `The guest with ${which} did not tell ${wanted.join(", ")} in ${
      BOOT_WAIT_MS / 1_000
    } s, ${TRIES_MAX} times`,
    { fault: "us", hint: "run it on a quieter machine" },
  );
}

async function bootOnce(argv: string[], console: string, wanted: readonly string[]) {
  // What the boot before said is not this one's word.
  rmSync(console, { force: true });
  const qemu = Bun.spawn(argv, { stdin: "ignore", stdout: "inherit", stderr: "inherit" });
  const deadline = performance.now() + BOOT_WAIT_MS;
  try {
    while (performance.now() < deadline && qemu.exitCode === null) {
      const figures = consoleFigures(existsSync(console) ? readFileSync(console, "latin1") : "");
      if (wanted.every((name) => figures.has(name))) return figures;
      await Bun.sleep(POLL_MS);
    }
    return null;
  } finally {
    qemu.kill("SIGKILL");
    await qemu.exited;
  }
}
