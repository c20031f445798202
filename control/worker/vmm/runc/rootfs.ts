/** The container's root, made on the host: image and layer by loop, an overlay of both. umount frees the loop devices. */
import { mkdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { messageOf } from "../../../contract/errors.ts";
import type { VmSpec } from "../driver.ts";
import { hostCommand } from "../host-command.ts";
import type { RuncPaths } from "./runc-paths.ts";

export async function mountRootfs(spec: VmSpec, paths: RuncPaths): Promise<void> {
  const purpose = `mount the root of machine ${spec.machineId}`;
  for (const point of [paths.image, paths.layer, paths.rootfs]) {
    mkdirSync(point, { recursive: true, mode: 0o755 });
  }
  await Promise.all([
    mountFile("loop,ro,nodev", spec.imageFile, paths.image, purpose),
    mountFile("loop,nodev", spec.layerFile, paths.layer, purpose),
  ]);
  const upper = join(paths.layer, "upper");
  const work = join(paths.layer, "work");
  mkdirSync(upper, { recursive: true, mode: 0o755 });
  mkdirSync(work, { recursive: true, mode: 0o700 });
  const options = `nodev,lowerdir=${paths.image},upperdir=${upper},workdir=${work}`;
  await hostCommand(["mount", "-t", "overlay", "-o", options, paths.kernelName, paths.rootfs], { purpose });
}

/**
 * What was killed just now lets go of its folders a moment later; then a mount is not busy any more, and neither is the
 * loop device of a file whose last mount went with a container's namespace.
 */
const BUSY_TRIES_MAX = 50;
const BUSY_RETRY_MS = 20;

/** mount(8) takes the loop device that a file already has, also one that is about to go. */
async function mountFile(options: string, file: string, point: string, purpose: string): Promise<void> {
  for (let tries = 1;; tries++) {
    try {
      return void await hostCommand(["mount", "-o", options, file, point], { purpose });
    } catch (error) {
      if (tries === BUSY_TRIES_MAX || !/already mounted|mount point busy/.test(messageOf(error))) throw error;
      await delay(BUSY_RETRY_MS);
      // By a mount(8) that a killed agent had begun, which ended only now.
      if (isMountPoint(point)) await hostCommand(["umount", point], { purpose });
    }
  }
}

/** Unmounts all that is mounted below the folder, the last mounted first. */
export async function unmountBelow(folder: string, machineId: string): Promise<void> {
  for (const point of mountsBelow(folder).reverse()) {
    for (let tries = 1; isMountPoint(point); tries++) {
      try {
        await hostCommand(["umount", point], { purpose: `unmount the root of machine ${machineId}` });
      } catch (error) {
        if (tries === BUSY_TRIES_MAX) throw error;
        await delay(BUSY_RETRY_MS);
      }
    }
  }
}

function isMountPoint(point: string): boolean {
  return mountsBelow(dirname(point)).includes(point);
}

export function mountsBelow(folder: string): string[] {
  return mountPointsBelow(readFileSync("/proc/self/mountinfo", "utf8"), folder);
}

/** Field 5 of each line of mountinfo (proc(5)), where blanks are written as octal escapes. */
export function mountPointsBelow(mountinfo: string, folder: string): string[] {
  return mountinfo.split("\n")
    .map((line) =>
      (line.split(" ")[4] ?? "").replace(/\\([0-7]{3})/g, (_, code) => String.fromCharCode(parseInt(code, 8)))
    )
    .filter((point) => point.startsWith(`${folder}/`));
}
