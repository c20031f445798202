/** What concerns the whole machine: its name and its end. */
import { check, libc, text } from "./libc.ts";

/** linux/reboot.h. QEMU runs with -no-reboot, so a restart is the end of the VM, and the only one without ACPI. */
const RB_AUTOBOOT = 0x01234567;
/** Ctrl-alt-del becomes SIGINT to PID 1. */
const RB_DISABLE_CAD = 0;

export function restartMachine(): void {
  check(libc.reboot(RB_AUTOBOOT), "reboot");
}

export function sendCtrlAltDelToInit(): void {
  check(libc.reboot(RB_DISABLE_CAD), "reboot (disable ctrl-alt-del)");
}

export function setHostname(name: string): void {
  check(libc.sethostname(text(name), BigInt(Buffer.byteLength(name))), `sethostname ${name}`);
}
