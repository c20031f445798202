/** mount(2), umount2(2), swapon(2) and chroot(2). Each call names its operands when the kernel refuses it. */
import { check, libc, text } from "./libc.ts";

/** linux/mount.h. */
export const MountFlag = {
  readOnly: 1,
  noSuid: 2,
  noDev: 4,
  noExec: 8,
  remount: 32,
  noAtime: 1_024,
  move: 8_192,
} as const;

const MNT_DETACH = 2;

export interface Mount {
  readonly source: string;
  readonly target: string;
  readonly type: string;
  readonly flags?: number;
  readonly options?: string;
}

export function mount({ source, target, type, flags = 0, options = "" }: Mount): void {
  const data = text(options);
  check(
    libc.mount(text(source), text(target), text(type), BigInt(flags), data),
    `mount ${type} ${source} on ${target}${options === "" ? "" : ` (${options})`}`,
  );
}

export function moveMount(from: string, to: string): void {
  check(
    libc.mount(text(from), text(to), text(""), BigInt(MountFlag.move), null),
    `move mount ${from} to ${to}`,
  );
}

/** `target` may be a `/proc/self/fd/N` of a folder that no path reaches any more. */
export function remountReadOnly(target: string): void {
  const flags = BigInt(MountFlag.remount | MountFlag.readOnly);
  check(libc.mount(text("none"), text(target), text(""), flags, null), `remount ${target} read-only`);
}

export function unmount(target: string): void {
  check(libc.umount2(text(target), 0), `umount ${target}`);
}

/** Takes it out of sight at once; the kernel lets go of it when the last who uses it does. */
export function detach(target: string): void {
  check(libc.umount2(text(target), MNT_DETACH), `umount ${target} lazily`);
}

export function swapOn(path: string): void {
  check(libc.swapon(text(path), 0), `swapon ${path}`);
}

export function swapOff(path: string): void {
  check(libc.swapoff(text(path)), `swapoff ${path}`);
}

export function chroot(folder: string): void {
  check(libc.chroot(text(folder)), `chroot ${folder}`);
}

export function syncDisks(): void {
  libc.sync();
}
