/** The first program inside a guest: Debian's busybox-static, because the initramfs has no C library. */
import { copyFile } from "node:fs/promises";
import { join } from "node:path";
import { GodwitError } from "../../control/contract/errors.ts";
import { type DebianPackage, exists, providePackage } from "./debian-package.ts";

const PACKAGE = "busybox-static";

/** `Version: 1:1.35.0-4+b7` of `apt-cache show`. */
export function parseBusyboxPackage(shown: string): DebianPackage | null {
  const match = /^Version: (\S+)$/m.exec(shown);
  return match === null ? null : { name: PACKAGE, version: match[1]! };
}

/** @returns the path of the static binary */
export async function provideBusybox(folder: string, onStep: (line: string) => void): Promise<string> {
  const provided = await providePackage(folder, {
    ask: PACKAGE,
    read: parseBusyboxPackage,
    prefix: PACKAGE,
    keep: keepBinary,
  }, onStep);
  return join(provided.folder, "busybox");
}

async function keepBinary(known: DebianPackage, tree: string, target: string): Promise<void> {
  for (const place of ["bin/busybox", "usr/bin/busybox"]) {
    if (!await exists(join(tree, place))) continue;
    return await copyFile(join(tree, place), join(target, "busybox"));
  }
  throw new GodwitError("images.busybox_unusable", `Cannot find busybox in ${known.name} ${known.version}`, {
    fault: "us",
  });
}
